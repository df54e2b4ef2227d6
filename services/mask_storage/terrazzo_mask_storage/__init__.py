"""The mask storage service: images, label maps, dataset versions; import and export."""
