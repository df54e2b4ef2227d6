"""Pure rules of the mask storage service: no IO, no clock, no random source."""
