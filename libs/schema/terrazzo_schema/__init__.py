"""The shared words of Terrazzo: ids, errors, ontology, events and REST models. Pure: no IO, no clock."""
