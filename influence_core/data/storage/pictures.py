"""Decoding of untrusted image files; no other file decodes them.

Six formats are read and no other: each parser is an attack surface. The pixel count is checked from the header before
any pixel is decoded. Every failure becomes a DataError whose text describes the fault in half a sentence.

Of a GIF or TIFF the first frame or page is read. Of TIFF only what scanners and microscopes usually write: 8-bit or
16-bit values, whole or packed by LZW, Deflate or PackBits. Its other compressions (JPEG, fax) are where most faults of
its library were found, and values of 32 bits or floats have no known black and white.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from influence_core.errors import DataError
from influence_core.system.missed_files import in_place_of

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 50_000_000
LARGE, PIXELS_PER_BYTE = 10_000_000, 200
"""Pixels up to which a picture may be as empty as it likes; above, the most in a byte. Night photos have up to 50."""
ORIENTATION_TAG = 0x0112
TURNED = (5, 6, 7, 8)
"""The orientations that exchange width and height."""
BLOCK = 1_000_000
"""Pixels of deep grey that are converted at a time: as float64 they take eight times the memory of the picture."""

# First bytes of a file, the name of the format, and the suffix it is exported with.
SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG", ".png"),
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"BM", "BMP", ".bmp"),
    (b"GIF87a", "GIF", ".gif"),
    (b"GIF89a", "GIF", ".gif"),
    (b"II*\x00", "TIFF", ".tif"),
    (b"MM\x00*", "TIFF", ".tif"),
)
TIFF_COMPRESSIONS = {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"}
TIFF_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "I;16", "I;16B", "I;16L"}
TILE_WIDTH, TILE_LENGTH = 322, 323
# Common formats that are not read, so that the error can name them.
FOREIGN = (
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"8BPS", "PSD"),
    *[(b"P%d" % kind + blank, "PPM") for kind in range(1, 7) for blank in (b"\n", b" ")],
    (b"\x00\x00\x00\x0cjP  ", "JP2"),
    (b"\x00\x00\x00\x0cJXL ", "JXL"),
    (b"\xff\x0a", "JXL"),
    (b"SIMPLE  =", "FITS"),
    (b"II+\x00", "BigTIFF"),
    (b"MM\x00+", "BigTIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "zip archive"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
)
# The four bytes after "ftyp" of formats made of boxes, as phones and browsers write.
BOXED = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}

CONVERTED = {
    "HEIC": "*.heic", "AVIF": "*.avif", "PPM": "*.p[bgp]m", "JP2": "*.jp2", "JXL": "*.jxl", "DICOM": "*.dcm",
}  # fmt: skip
"""Foreign formats that a line of ImageMagick converts, and their files."""


def picture_format(data: bytes) -> tuple[str, str]:
    """Return the format and the suffix of an encoded picture, judged by its first bytes, not its name."""
    for signature, name, suffix in SIGNATURES:
        if data.startswith(signature):
            return name, suffix
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP", ".webp"
    if not data:
        raise DataError("the file is empty")
    if came := in_place_of(data):
        raise DataError(f"found {came}")
    foreign = next((name for signature, name in FOREIGN if data.startswith(signature)), "no known picture")
    if data[4:8] == b"ftyp":
        foreign = BOXED.get(data[8:12], foreign)
    if data[128:132] == b"DICM":
        foreign = "DICOM"
    how = f": {conversion(CONVERTED[foreign])}" if foreign in CONVERTED else ""
    raise DataError(f"found {foreign}; only {', '.join(FORMATS)} are read{how}")


def conversion(files: str) -> str:
    """The line that turns files into PNG beside them, with ImageMagick."""
    return f"magick mogrify -format png {files!r}, then take the originals out"


class PixelBudget:
    """The pixels that several threads may hold decoded at once; who asks for more waits for the others."""

    def __init__(self, pixels: int):
        self._pixels, self._left, self._freed = pixels, pixels, Condition()

    @contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels of the budget, all of it at most."""
        taken = min(pixels, self._pixels)
        with self._freed:
            self._freed.wait_for(lambda: self._left >= taken)
            self._left -= taken
        try:
            yield
        finally:
            with self._freed:
                self._left += taken
                self._freed.notify_all()


CHECKING = PixelBudget(MAX_PIXELS)
"""200 MB, at four bytes a pixel, whatever the number of cores."""


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture whose size was judged by its header; what a parser raises inside becomes a DataError."""
    name, _ = picture_format(data)
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            check_size(image.size, len(data))
            if name == "TIFF":
                check_tiff(image)
            yield image
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"more than {MAX_PIXELS:,} pixels, the most that is read") from error
    except UnidentifiedImageError as error:  # its message names an object in memory
        raise DataError(f"damaged {name}: its header cannot be read") from error
    except Exception as error:  # Pillow's parsers raise almost anything on damaged bytes
        raise DataError(f"damaged {name}: {str(error) or type(error).__name__}") from error


def decode_picture(data: bytes, within: int | None = None) -> Image.Image:
    """Decode one picture, upright (EXIF rotation applied), in mode "L" for grey and "RGB" for all others.

    Transparency is dropped, not blended, as the usual training pipelines do. With `within` it has at most so many
    pixels a side; a large JPEG is then decoded at a fraction of its size.
    """
    with opened(data) as image:
        if within is not None:
            image.draft(None, (within, within))
        image.load()
        picture = flatten(upright(image))
        if within is not None:
            picture.thumbnail((within, within), Image.Resampling.BILINEAR)
        return picture.copy() if picture is image else picture


def check_picture(data: bytes) -> None:
    """Raise DataError unless the picture can be decoded to its last byte; a JPEG is, at an eighth of its size."""
    with opened(data) as image, CHECKING.holding(image.width * image.height):
        image.draft(None, (1, 1))
        image.load()
        upright(image)


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height of an encoded picture from its header, without decoding pixels."""
    name, _ = picture_format(data)
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            return image.size
    except Exception as error:  # as above: a damaged header can raise almost anything
        raise DataError(f"damaged {name}: {str(error) or type(error).__name__}") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Return height and width of an encoded picture as it is shown, from its header."""
    with opened(data) as image:
        turned = image.getexif().get(ORIENTATION_TAG, 1) in TURNED
        return (image.width, image.height) if turned else (image.height, image.width)


def check_size(size: tuple[int, int], encoded: int) -> None:
    """Raise DataError for too many pixels, by the header: a bomb of 50,000 x 50,000 pixels costs nothing.

    So does one of 49 million pixels of one colour: a hundred of them fit into 20 kB and take minutes.
    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise DataError(f"{width:,} x {height:,} pixels; at most {MAX_PIXELS:,} pixels are read")
    if width * height > max(LARGE, PIXELS_PER_BYTE * encoded):
        raise DataError(
            f"{width:,} x {height:,} pixels in {encoded:,} bytes: one colour throughout, or made to do harm"
        )


def check_tiff(image: Image.Image) -> None:
    """Raise DataError for a TIFF of a kind that is not read, from its header."""
    packing, tags = str(image.info.get("compression", "raw")), getattr(image, "tag_v2", {})
    if packing not in TIFF_COMPRESSIONS:
        raise DataError(f"a TIFF packed by {packing}, which is not read: {conversion('*.tif')}")
    if image.mode not in TIFF_MODES:
        raise DataError(
            f"a TIFF of mode {image.mode}, whose black and white are not known: save it with 8 or 16 bits a value"
        )
    check_size((int(tags.get(TILE_WIDTH, 1)), int(tags.get(TILE_LENGTH, 1))), MAX_PIXELS)


def upright(image: Image.Image) -> Image.Image:
    if image.getexif().get(ORIENTATION_TAG, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def flatten(image: Image.Image) -> Image.Image:
    """Return the picture as 8-bit grey ("L") or colour ("RGB"); itself where it is."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return flatten_deep_grey(image)
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode in ("P", "PA") and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def flatten_deep_grey(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8 bits by dividing by 257; Pillow's conversion would clip at 255."""
    deep = np.asarray(image)
    flat = np.empty(deep.shape, dtype=np.uint8)
    rows = max(1, BLOCK // deep.shape[1])
    for start in range(0, len(deep), rows):
        block = deep[start : start + rows].astype(np.float64)
        flat[start : start + rows] = (np.clip(block, 0, 65535) / 257).round()
    return Image.fromarray(flat)


def picture_values(image: Image.Image, channels: int | None, size: tuple[int, int] | None) -> np.ndarray:
    """Return pixels, uint8 (c, h, w), converted to `channels` (1 or 3) and resized to `size` (h, w).

    None keeps the channels or the size. Resizing is bilinear with antialiasing, as torchvision's Resize does.
    """
    if channels is not None and channels != len(image.getbands()):
        image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    values = np.asarray(image)
    return np.ascontiguousarray(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def encode_png(values: np.ndarray) -> bytes:
    """Encode uint8 (c, h, w) pixels of an array as PNG."""
    buffer = io.BytesIO()
    to_picture(values).save(buffer, format="PNG")
    return buffer.getvalue()


def to_picture(values: np.ndarray) -> Image.Image:
    """Return uint8 (c, h, w) pixels, c of 1 or 3, as a picture."""
    return Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0))
