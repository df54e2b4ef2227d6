"""Pure rules of training: what a run may be, what its trainer said, how it ended, which model is better."""
