"""The NIfTI-1 header (nifti.nimh.nih.gov, nifti1.h): 348 bytes in either byte order, and as a text."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from terrazzo_masks.errors import CorruptMask, UnsupportedMask

HEADER_BYTES, VOX_OFFSET = 348, 352
MAGIC = b"n+1"
RGB24 = 128
DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
    RGB24: "u1",
}
_FIELDS = [
    ("sizeof_hdr", "i4"),
    ("unused", "S35"),
    ("dim_info", "u1"),
    ("dim", "i2", (8,)),
    ("intent_p", "f4", (3,)),
    ("intent_code", "i2"),
    ("datatype", "i2"),
    ("bitpix", "i2"),
    ("slice_start", "i2"),
    ("pixdim", "f4", (8,)),
    ("vox_offset", "f4"),
    ("scl_slope", "f4"),
    ("scl_inter", "f4"),
    ("slice_end", "i2"),
    ("slice_code", "u1"),
    ("xyzt_units", "u1"),
    ("cal_max", "f4"),
    ("cal_min", "f4"),
    ("slice_duration", "f4"),
    ("toffset", "f4"),
    ("glmax", "i4"),
    ("glmin", "i4"),
    ("descrip", "S80"),
    ("aux_file", "S24"),
    ("qform_code", "i2"),
    ("sform_code", "i2"),
    ("quatern", "f4", (3,)),
    ("qoffset", "f4", (3,)),
    ("srow", "f4", (3, 4)),
    ("intent_name", "S16"),
    ("magic", "S4"),
]
_LITTLE = np.dtype(_FIELDS)
MILLIMETRES = 2
SLICE_BYTES_MAX = 2**30


@dataclass(frozen=True)
class Header:
    """What a volume's file says of itself. `values` is the header, little endian."""

    values: Any
    byte_order: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, height, width): the file's axes z, y, x."""
        x, y, z = (int(v) for v in self.values["dim"][1:4])
        return z, y, x

    @property
    def is_rgb(self) -> bool:
        return int(self.values["datatype"]) == RGB24

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.byte_order + DTYPES[int(self.values["datatype"])])

    @property
    def slice_bytes(self) -> int:
        _, height, width = self.shape
        return height * width * (3 if self.is_rgb else self.dtype.itemsize)

    @property
    def scaling(self) -> tuple[float, float]:
        """(slope, intercept); a slope of 0 means that there is none."""
        slope, inter = float(self.values["scl_slope"]), float(self.values["scl_inter"])
        return (slope, inter) if slope != 0 and np.isfinite([slope, inter]).all() else (1.0, 0.0)

    def to_text(self) -> str:
        return base64.b64encode(self.values.tobytes()).decode("ascii")


def read_header(file: BinaryIO, max_pixels: int) -> Header:
    """Read a header and what is before the voxels. Raises CorruptMask, UnsupportedMask (4 axes, NIfTI-2)."""
    data = file.read(HEADER_BYTES)
    if len(data) < HEADER_BYTES:
        raise CorruptMask(f"the volume has {len(data)} bytes: no NIfTI header")
    size = int.from_bytes(data[:4], "little")
    if 540 in (size, int.from_bytes(data[:4], "big")):
        raise UnsupportedMask("the volume is NIfTI-2: save it as NIfTI-1")
    header = _checked(data, "<" if size == HEADER_BYTES else ">", max_pixels)
    offset = float(header.values["vox_offset"])
    if not VOX_OFFSET <= offset <= 2**24:
        raise CorruptMask(f"the volume states that its voxels start at {offset}")
    skipped = int(offset) - HEADER_BYTES
    if len(file.read(skipped)) != skipped:
        raise CorruptMask("the volume is cut short before its voxels")
    return header


def from_text(text: str) -> Header:
    """Raises CorruptMask."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CorruptMask(f"the kept header is damaged: {error}") from error
    if len(data) != HEADER_BYTES:
        raise CorruptMask(f"the kept header has {len(data)} bytes, not {HEADER_BYTES}")
    return _checked(data, "<", 2**31)


def _checked(data: bytes, order: str, max_pixels: int) -> Header:
    raw = np.frombuffer(data, _LITTLE.newbyteorder("<" if order == "<" else ">"))[0]
    values = np.zeros((), _LITTLE)
    for name in _LITTLE.names or ():
        values[name] = raw[name]
    if int(values["sizeof_hdr"]) != HEADER_BYTES or not bytes(values["magic"]).startswith(MAGIC):
        raise CorruptMask(f"the volume's magic is {bytes(data[344:348])!r}: a NIfTI-1 in one file says 'n+1'")
    dim = [int(v) for v in values["dim"]]
    if not 2 <= dim[0] <= 7 or any(size < 1 for size in dim[1 : dim[0] + 1]):
        raise CorruptMask(f"the volume states the axes {dim}")
    if any(size > 1 for size in dim[4 : dim[0] + 1]):
        raise UnsupportedMask(f"the volume has the axes {dim[1 : dim[0] + 1]}: x, y and z are taken")
    if dim[0] == 2:
        values["dim"][3] = 1
    if dim[1] * dim[2] > max_pixels:
        raise CorruptMask(f"a slice has {dim[2]} x {dim[1]} pixels: at most {max_pixels} are allowed")
    if int(values["datatype"]) not in DTYPES:
        raise UnsupportedMask(f"the volume's datatype is {int(values['datatype'])}: integers and floats are taken")
    header = Header(values, order)
    if header.slice_bytes > SLICE_BYTES_MAX:
        raise CorruptMask(f"a slice has {header.slice_bytes} bytes: at most {SLICE_BYTES_MAX} are read")
    return header


def blank(height: int, width: int) -> Header:
    """A header of one slice without a place in the world: voxels of 1 x 1 x 1, axes as they are."""
    values = np.zeros((), _LITTLE)
    values["sizeof_hdr"], values["magic"] = HEADER_BYTES, MAGIC
    values["dim"] = (3, width, height, 1, 1, 1, 1, 1)
    values["pixdim"] = 1
    values["datatype"], values["bitpix"] = 2, 8
    values["srow"] = np.eye(3, 4)
    values["sform_code"] = 1
    values["xyzt_units"] = MILLIMETRES
    return Header(values, "<")


def written(header: Header, num_slices: int, datatype: int, slope: float, inter: float) -> bytes:
    """The first 352 bytes of a volume: `header` with this many slices of this type, whose values are scaled so."""
    values = header.values.copy()
    values["dim"][0] = 3
    values["dim"][3] = num_slices
    values["datatype"] = datatype
    values["bitpix"] = 24 if datatype == RGB24 else 8 * np.dtype(DTYPES[datatype]).itemsize
    values["vox_offset"] = VOX_OFFSET
    values["magic"] = MAGIC
    values["scl_slope"], values["scl_inter"] = slope, inter
    data: bytes = values.tobytes()
    return data + bytes(VOX_OFFSET - HEADER_BYTES)
