"""Pure pieces of `terrazzo simulate`: scenes, annotators, their time, reference masks, summary and report."""
