"""Pure rules of the task service: no IO, no clock, no random source of its own."""
