"""Read a picture file: JPEG, PNG, WebP, BMP, TIFF, JPEG 2000, AVIF, HEIC, and PPM and its kin.

The first four also come in streams, and OpenCV decodes them (`compressed.py`). The others come
only as files. Pillow decodes these, and tells their size before it takes memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

import cv2
import numpy as np

from dgss_core.errors import HEAD, DgssError, one_line, what_it_is
from dgss_core.images.compressed import STREAMED, decode_compressed
from dgss_core.images.encodings import MAX_PIXELS, check_size

IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.dib', '.tif', '.tiff'),
    *('.jp2', '.j2k', '.avif', '.heic', '.heif', '.hif', '.ppm', '.pgm', '.pbm', '.pnm'),
)
RARE = {
    'TIFF': (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'),
    'JPEG2000': (b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51'),
    'AVIF': (b'ftypavif', b'ftypavis'),
    'HEIF': tuple(
        b'ftyp' + kind for kind in (b'heic', b'heix', b'heim', b'heis', b'mif1', b'msf1')
    ),
    'PPM': tuple(b'P%d%c' % (kind, space) for kind in range(1, 7) for space in b' \t\n\r#'),
}
"""First bytes of the formats of Pillow; those of AVIF and HEIF follow the length of a box."""
ORIENTATION, BITS = 0x0112, 0x0102
"""Tags of TIFF, the first also of EXIF."""
DEEP = ('I;16', 'I;16B', 'I;16L', 'I;16N')
DEEPER = ('I', 'F')
"""The modes of Pillow with 16 and 32 bits a sample."""
DEEPEST = 16
"""Bits of a sample that are read."""


def format_of(head: bytes) -> str | None:
    """The format of a picture file with these first (at least 12) bytes; None for another file."""
    for name, starts in (STREAMED | RARE).items():
        if head.startswith(starts) or head[4:12] in starts:
            # A RIFF file can be a video, and a HEIF container can hold AVIF.
            if name == 'WEBP' and head[8:12] != b'WEBP':
                return None
            return 'AVIF' if name == 'HEIF' and b'avif' in head[12:64] else name
    return None


def decode_still(data: bytes, *, upright: bool = False) -> np.ndarray:
    """Decode a picture file in memory to RGB uint8 (H, W, 3).

    `upright`: turn the image as its EXIF orientation says. HEIC is always upright, since its turn
    is part of the coding. Samples of 12 and 16 bits are scaled to 8, and transparency is left out.

    Raises DgssError for another format, a file of several pictures, samples of more than 16 bits,
    a size as in `check_size`, a TIFF that is turned and not to be `upright`, and data that is
    damaged or cut short.
    """
    name = format_of(data[:HEAD])
    if name in RARE:
        return _decode_rare(data, name, upright)
    if _is_animated(data, name):
        raise DgssError(
            'The file is an animation; save each of its pictures as a file of its own.'
        )
    if name is None and (meaning := what_it_is(data[:HEAD])):
        raise DgssError(f'It is {meaning}.')
    return decode_compressed(data, upright=upright)


def _is_animated(data: bytes, name: str | None) -> bool:
    if name == 'WEBP':
        return data[12:16] == b'VP8X' and len(data) > 20 and bool(data[20] & 2)
    return name == 'PNG' and b'acTL' in data[: data.find(b'IDAT')][:HEAD]


def is_turned(data: bytes) -> bool:
    """Whether a picture file in memory has an EXIF orientation that turns or mirrors it."""
    name = format_of(data[:HEAD])
    if name in RARE:
        with open_rare(data, name) as image:
            return _has_orientation(image)
    if b'exif' not in data.lower():
        return False
    stored, turned = (decode_compressed(data, upright=upright) for upright in (False, True))
    return not np.array_equal(stored, turned)


def _decode_rare(data: bytes, name: str, upright: bool) -> np.ndarray:
    with open_rare(data, name) as image:
        if upright:
            from PIL import ImageOps

            ImageOps.exif_transpose(image, in_place=True)
        elif name == 'TIFF' and _has_orientation(image):
            # Pillow turns a TIFF when it loads it.
            raise DgssError('The TIFF image has an orientation; save it upright without the tag.')
        if image.mode in DEEP or (image.mode == 'I' and name == 'PPM'):
            # Pillow leaves the 12 bits of a TIFF as they are.
            bits = image.tag_v2.get(BITS, (16,))[0] if name == 'TIFF' else 16
            samples = np.asarray(image).astype(np.float32)
            grey = cv2.convertScaleAbs(samples, alpha=255 / (2**bits - 1))
            return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
        if image.mode in DEEPER:
            raise _no_scale(32)
        return np.array(image.convert('RGB'))


def _has_orientation(image: Any) -> bool:
    return image.getexif().get(ORIENTATION, 1) in range(2, 9)


@contextmanager
def open_rare(data: bytes, name: str) -> Iterator[Any]:
    """The image of Pillow, checked and not yet decoded; `name` is a format of `RARE`.

    Raises DgssError as `decode_still`, also from the body of the `with`.
    """
    library = _pillow(name)
    try:
        with library.open(BytesIO(data), formats=[name]) as image:
            width, height = image.size
            check_size(width=width, height=height)
            if getattr(image, 'n_frames', 1) > 1:
                raise DgssError(
                    f'The file holds {image.n_frames} pictures; save each as a file of its own.'
                )
            yield image
    except DgssError:
        raise
    except library.DecompressionBombError as error:
        raise DgssError(
            f'The image says it has more than {MAX_PIXELS} pixels, which is taken for a damaged '
            'header; scale it down, or save it again.'
        ) from error
    # Damaged bytes can raise any exception in the decoders.
    except Exception as error:
        # Pillow says no more of it than its address in memory.
        is_unknown = isinstance(error, library.UnidentifiedImageError)
        bits = _bits_of_tiff(data) if is_unknown and name == 'TIFF' else 0
        if bits > DEEPEST:
            raise _no_scale(bits) from error
        reason = ', or of a kind that is not read' if bits else ''
        reason = reason if is_unknown else f' ({one_line(error)})'
        raise DgssError(
            f'The {name} image is damaged or cut short{reason}; copy it again, or save it as JPEG '
            'or PNG.'
        ) from error


def _no_scale(bits: int) -> DgssError:
    return DgssError(
        f'The samples of the image have {bits} bits, whose black and white are unknown; save it '
        'with 8 or 16 bits.'
    )


def _bits_of_tiff(data: bytes) -> int:
    """Bits of a sample, also where Pillow does not decode them; 0 if the file does not tell."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    # Damaged bytes can raise any exception.
    with suppress(Exception):
        tags, file = ImageFileDirectory_v2(data[: 16 if b'+' in data[2:4] else 8]), BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        return max(map(int, tags.get(BITS, (0,))))
    return 0


def _pillow(name: str) -> Any:
    """`PIL.Image`, able to open the format `name`; DgssError says what to install."""
    try:
        from PIL import Image

        if name == 'HEIF':
            from pi_heif import register_heif_opener

            register_heif_opener()
    except ImportError as error:
        raise DgssError(
            f'{name} is read through {error.name}, which is not installed; run pip install pillow'
            f'{" pi-heif" if name == "HEIF" else ""}, or save the image as JPEG or PNG.'
        ) from error
    warnings.filterwarnings('ignore', module=r'PIL\.')  # What matters is raised as well.
    return Image
