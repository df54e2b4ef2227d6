"""Pure rules of quality assurance: no IO, no clock, no random source that was not handed in."""
