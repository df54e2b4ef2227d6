"""Label maps as arrays: codec, tiles, differences, measures, geometry, consensus, checks and file formats.

Pure array code: no service, no network, no database, no file. A *label map* is a uint8 or uint16 array (H, W) of
class ids 0..65534, where 0 means *unlabelled*. Import the module that you need; only numpy is loaded at import.
"""
