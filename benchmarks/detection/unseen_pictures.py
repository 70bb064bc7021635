"""Pictures that played no part in any choice about suspicion: six sets from a folder of unpacked packages.

letters  26 Latin letters in some 270 fonts, turned and moved a little, one in ten inverted; strangers are digits
hangul   40 Korean syllables in 56 fonts; strangers are other syllables
emoji    seven groups of coloured emoji, 85 to 261 pictures each; strangers are symbols
icons    eight folders of three desktop themes, one with half of all, some with 3 %; strangers are emblems
scenes   crops of 24 photographs, the class is the photograph; strangers are crops of others
sounds   spectrograms of eight kinds of drawn sounds, 32 x 48, unequally frequent; strangers are plucked strings

Strangers are the pictures of no class. unseen.py describes the folder; `sounds` does not need it. Everything is seeded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.detection.data import Data

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYLLABLES = [chr(0xAC00 + 28 * step) for step in range(0, 399, 7)]
"""57 of the 399 without a final consonant: 40 are classes, the others strangers."""
SIDE = 32
NOWHERE = "\U0010ffff"
"""A character that no font has: what is drawn for it is drawn for every one that is missing."""
FOLDERS = "actions apps categories devices emotes mimetypes places status".split()
EMOJI = (
    "Smileys & Emotion,People & Body,Animals & Nature,Food & Drink,Travel & Places,Activities,Objects,Symbols"
)


def letters(folder: Path) -> Data:
    rng = np.random.default_rng(21)
    known = fonts_with(folder, LETTERS)
    labels, strange = rng.integers(0, 26, 1200), rng.integers(0, 10, 150)
    drawn = [glyph(LETTERS[c], known, 28, rng) for c in labels]
    odd = [glyph("0123456789"[c], known, 28, rng) for c in strange]
    return Data("letters", np.stack(drawn), labels, np.stack(odd))


def hangul(folder: Path) -> Data:
    rng = np.random.default_rng(22)
    known = fonts_with(folder, "".join(SYLLABLES))
    labels, strange = rng.integers(0, 40, 1200), rng.integers(40, len(SYLLABLES), 150)
    drawn = [glyph(SYLLABLES[c], known, SIDE, rng) for c in (*labels, *strange)]
    return Data("hangul", np.stack(drawn[:1200]), labels, np.stack(drawn[1200:]))


def fonts_with(folder: Path, characters: str) -> list[Path]:
    """Fonts that draw each of the characters, in order of their names."""
    files = sorted(
        path for path in (folder / "usr/share/fonts").rglob("*") if path.suffix in (".ttf", ".otf")
    )
    found = []
    for path in files:
        try:
            font = ImageFont.truetype(str(path), 20)
            masks = [bytes(font.getmask(character)) for character in (NOWHERE, *characters)]
        except OSError:  # a font of bitmaps has no such size
            continue
        if masks[0] not in masks[1:] and all(masks[1:]):
            found.append(path)
    return found


def glyph(character: str, fonts: Sequence[Path], side: int, rng: np.random.Generator) -> np.ndarray:
    """A picture (1, side, side) of the character in one of the fonts: rotated, shifted, blurred by resizing, noisy."""
    font = ImageFont.truetype(str(fonts[rng.integers(len(fonts))]), int(side * rng.uniform(1.5, 2.1)))
    sheet = Image.new("L", (3 * side, 3 * side), 0)
    centre = tuple(1.5 * side + rng.uniform(-0.15, 0.15, 2) * side)
    ImageDraw.Draw(sheet).text(centre, character, fill=255, font=font, anchor="mm")
    turned = sheet.rotate(rng.normal() * 6, Image.Resampling.BILINEAR)
    ink = np.asarray(turned.resize((side, side), Image.Resampling.BOX), np.float32)[None] / 255
    ink = ink if rng.random() < 0.9 else 1 - ink
    return np.clip(1 - ink + rng.normal(size=ink.shape) * 0.08, 0, 1).astype(np.float32)


def emoji(folder: Path) -> Data:
    """Emoji of one code point, without skin tones and joined sequences."""
    rows = (folder / "usr/share/unicode/emoji/emoji-test.txt").read_text().splitlines()
    font_file = next((folder / "usr/share/fonts").rglob("NotoColorEmoji.ttf"))
    font, names = ImageFont.truetype(str(font_file), 109), EMOJI.split(",")
    pictures, labels, group = [], [], ""
    for row in rows:
        group = row.removeprefix("# group: ") if row.startswith("# group: ") else group
        points = [point for point in row.split(";")[0].split() if point != "FE0F"]
        if group not in names or "; fully-qualified" not in row or len(points) != 1:
            continue
        sheet = Image.new("RGB", (136, 128), "white")
        ImageDraw.Draw(sheet).text((0, 0), chr(int(points[0], 16)), font=font, embedded_color=True)
        pictures.append(small(sheet))
        labels.append(names.index(group))
    return ordered("emoji", pictures, labels, len(names) - 1)


def icons(folder: Path) -> Data:
    """Icons of 32 pixels on white, without duplicates."""
    pictures: dict[bytes, np.ndarray] = {}
    labels: dict[bytes, int] = {}
    for theme in ("oxygen/base", "gnome", "Tango"):
        for place, name in enumerate([*FOLDERS, "emblems"]):
            files = (folder / "usr/share/icons" / theme / "32x32" / name).glob("*.png")
            for path in sorted(filter(Path.is_file, files)):  # links that lead to other packages are left out
                sheet = Image.open(path).convert("RGBA")
                picture = small(Image.alpha_composite(Image.new("RGBA", sheet.size, "white"), sheet))
                labels.setdefault(picture.tobytes(), place)
                pictures.setdefault(picture.tobytes(), picture)
    found = ordered("icons", list(pictures.values()), list(labels.values()), len(FOLDERS))
    return Data(found.name, found.inputs[:1200], found.labels[:1200], found.strangers)


def small(sheet: Image.Image) -> np.ndarray:
    """The picture as (3, 32, 32) in [0, 1]."""
    shrunk = sheet.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk, np.float32).transpose(2, 0, 1) / 255


def ordered(name: str, pictures: Sequence[np.ndarray], labels: Sequence[int], classes: int) -> Data:
    """The samples in a seeded order; those with a label beyond the classes become the strangers."""
    order = np.random.default_rng(23).permutation(len(labels))
    shown, kinds = np.stack(pictures)[order], np.array(labels)[order]
    return Data(name, shown[kinds < classes], kinds[kinds < classes], shown[kinds >= classes])


def scenes(folder: Path) -> Data:
    rng, place = np.random.default_rng(24), folder / "usr/share/backgrounds"
    files = [*sorted((place / "mate/nature").glob("*.jpg")), *sorted(place.glob("*_by_*.jpg"))]
    sheets = [Image.open(path).convert("RGB").resize((640, 400), Image.Resampling.BOX) for path in files]
    labels, strange = rng.integers(0, 24, 1000), rng.integers(24, len(sheets), 125)
    crops = np.stack([crop(sheets[c], rng) for c in (*labels, *strange)])
    return Data("scenes", crops[:1000], labels, crops[1000:])


def crop(sheet: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A crop (3, 32, 32): a square of 40 to 110 pixels anywhere, mirrored half of the time, lighter or darker."""
    side = int(rng.integers(40, 110))
    left, top = rng.integers(0, sheet.width - side), rng.integers(0, sheet.height - side)
    seen = small(sheet.crop((left, top, left + side, top + side)))
    return np.clip(seen[:, :, :: rng.choice([-1, 1])] * rng.uniform(0.8, 1.2), 0, 1).astype(np.float32)


def sounds(folder: Path) -> Data:
    rng = np.random.default_rng(25)
    odds = np.array([0.24, 0.2, 0.16, 0.12, 0.1, 0.08, 0.06, 0.04])
    labels = rng.choice(8, 700, p=odds)
    drawn = np.stack([spectrogram(sound(int(kind), rng)) for kind in (*labels, *[8] * 90)])
    return Data("sounds", drawn[:700], labels, drawn[700:])


def sound(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Half a second of sound (8 kHz) in noise: tone, rise, fall, vibrato, tremolo, two tones, hiss, clicks; pluck."""
    time, pitch = np.arange(4000) / 8000, np.exp(rng.uniform(np.log(250), np.log(1500)))
    bend = rng.uniform(0.4, 1.0) * pitch
    rate = rng.uniform(5, 14)
    steps = (np.sin(2 * np.pi * rate * time) > 0) * bend
    frequency = pitch + (
        {
            1: bend * 2 * time,
            2: -bend * 1.6 * time,
            3: 0.25 * bend * np.sin(2 * np.pi * rate * time),
            5: steps,
        }
    ).get(kind, 0 * time)
    phase = 2 * np.pi * np.cumsum(frequency) / 8000
    voice = sum(rng.uniform(0, 1) ** harmonic * np.sin((harmonic + 1) * phase) for harmonic in range(4))
    loud = np.clip(np.minimum(time, 0.5 - time) / rng.uniform(0.02, 0.2), 0, 1)
    loud = loud * (0.55 + 0.45 * np.sin(2 * np.pi * rate * time)) if kind == 4 else loud
    if kind == 6:
        voice = rng.normal(size=4000)
    if kind == 7:
        voice = 6.0 * (rng.random(4000) < rate / 800)
    if kind == 8:
        loud = np.exp(-time * rng.uniform(8, 20)) * (time > rng.uniform(0, 0.2))
    return voice * loud + rng.normal(size=4000) * rng.uniform(0.05, 0.5)


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """A spectrogram (1, 32, 48) in [0, 1]: log power of 32 bands in 48 moments, 50 dB from white to black."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 256)[:: (len(wave) - 256) // 48][
        :48
    ] * np.hanning(256)
    power = np.abs(np.fft.rfft(frames)[:, 1:129]) ** 2
    bands = np.log10(power.reshape(48, 32, 4).mean(2) + 1e-9).T[::-1]
    return np.clip((bands - bands.max()) / 5 + 1, 0, 1).astype(np.float32)[None]


PICTURES: dict[str, Callable[[Path], Data]] = {
    "letters": letters,
    "hangul": hangul,
    "emoji": emoji,
    "icons": icons,
    "scenes": scenes,
    "sounds": sounds,
}
