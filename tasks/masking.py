"""Phone, e-mail, card and account numbers and names in texts become words that say what was there.

A copy of this very file ships inside each registered model whose texts were masked, so it needs
the standard library only. Rules, no model: numbers are found by their form and their check digits,
names where a title, a greeting, an introduction or a closing tells of one, or where they are among
the commonest given names. A name that nothing tells of, in lower case above all, is not found.
"""

from __future__ import annotations

import re
import unicodedata

PHONE, EMAIL, CARD, ACCOUNT, NAME = "[PHONE]", "[EMAIL]", "[CARD]", "[ACCOUNT]", "[NAME]"

# of the characters that RFC 5322 allows, those that people have in their addresses
EMAIL_ADDRESS = re.compile(r"\w[\w.%+'\u2019&-]*@[\w-]+(?:\.[\w-]+)+")
# within numbers: also those that do not break, that are narrow, or stand for a space
SPACES = r" \t_\u00a0\u2007\u2009\u202f"
# ISO 13616: country, two check digits, up to thirty characters, often in groups of four
IBAN = re.compile(
    rf"\b[A-Za-z]{{2}}[0-9]{{2}}(?:[{SPACES}-]?[A-Za-z0-9]{{4}}){{2,7}}"
    rf"(?:[{SPACES}-]?[A-Za-z0-9]{{1,3}})?(?![^\W_])"
)
IBAN_CHARACTERS = range(15, 35)
NUMBERS = re.compile(rf"\+?\(?[0-9][0-9{SPACES}()./\u2010-\u2015-]{{4,40}}[0-9]")
# a point behind a long run of digits ends a sentence, or a price of many millions
SEPARATOR = re.compile(rf"([{SPACES}/]|(?<=[0-9]{{8}})\.)")
DATE = re.compile(r"([0-9]{1,2}|[0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{2}|[0-9]{4})")
DAYS, MONTHS, YEARS = range(1, 32), range(1, 13), range(1900, 2101)
# year, month and day without separators
DAY = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
# the North American plan: area, exchange, line
NORTH_AMERICAN = re.compile(r"(?:1[ .-]?)?\(?[2-9][0-9]{2}\)?[ .-]?[2-9][0-9]{2}[ .-][0-9]{4}")
# of the United States
SOCIAL_SECURITY = re.compile(r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}")
# E.164 allows fifteen digits; national numbers behind a trunk zero have nine to eleven
INTERNATIONAL_DIGITS, NATIONAL_DIGITS = range(7, 16), range(9, 12)
# ISO/IEC 7812
CARD_DIGITS = range(12, 20)
LONG_RUN, LONG_GROUPS, GROUPS = 8, 12, range(3, 7)

# capitals of the Latin, Greek, Cyrillic and Armenian letters
CAPITAL = "".join(chr(code) for code in range(0x41, 0x530) if chr(code).isupper())
WORD = rf"[{CAPITAL}][\w'\u2019-]*[\w]"
PARTICLES = r"(?:(?:al|bin|da|de|del|della|den|der|di|dos|du|el|la|le|ten|ter|van|von) ){0,3}"
FURTHER = rf"(?: (?:[A-Z]\.? )?{PARTICLES}{WORD}){{0,2}}"
TITLED = re.compile(
    rf"\b(?:(?i:mr|mrs|mx|dr|prof|professor)\b\.? +((?:\w+['\u2019-])*\w+{FURTHER}))"
)
# in small letters these are words besides
MISS = re.compile(rf"\b(?:Ms|MS|Miss|MISS)\b\.? +({WORD}{FURTHER})")
GREETED = re.compile(rf"\b(?i:dear|hi|hello|hey|hiya|good (?:morning|evening)),? +({WORD})")
INTRODUCED = re.compile(
    rf"\b(?:(?i:my name is|name:|call me|signed,?)|I['\u2019]m(?= [{CAPITAL}][a-z])) "
    rf"+({WORD}{FURTHER})"
)
CLOSED = re.compile(
    r"\b(?i:regards|sincerely|cheers|thanks|yours|love)"
    rf"(?:,\s*|\s*\n\s*)({WORD}{FURTHER})\s*$"
)
CUES = (TITLED, MISS, GREETED, INTRODUCED, CLOSED)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# words that greetings and closings are followed by as well
NO_NAMES = _words(
    """
    all and any are as aunt babe baby beautiful boss boy boys buddy can club colleague colleagues
    customer customers dad darlin darling dear did do dr dude dudes everybody everyone folks for
    friend friends from girl girls good gorgeous great guys happy have hello here hey hi his honey
    hope how hun hunny if im in is it its just ladies love lovely ma madam matched mate me member
    merry miss mom mr mrs ms mum mx my new no not now of ok on our pa please princess prof
    professor reader resident sexy sir sirs so sorry subscriber sunshine sweet sweetheart sweetie
    team tenant thanks that the then there they this to today tomorrow u uncle ur user valued very
    voucher was we welcome what when where who why will winner with wow yes yo you your
    """
)
# the commonest given names that are no word besides
GIVEN_NAMES = _words(
    """
    Aaron Abigail Adam Adrian Agnes Ahmed Alan Albert Alejandro Alex Alexander Alexandra Alfred
    Alice Alison Amanda Amelia Amir Amy Ana Andrea Andreas Andrew Angela Anita Ann Anna Anne Anthony
    Antonio Arthur Ashley Audrey Barbara Beatrice Benjamin Bernard Betty Beverly Brandon Brenda
    Brian Bridget Bruce Bryan Carl Carlos Carmen Carol Caroline Catherine Charles Charlotte Cheryl
    Chloe Chris Christian Christina Christine Christopher Claire Clara Claudia Colin Connor Craig
    Cynthia Daniel Danielle David Deborah Debra Denise Dennis Derek Diana Diane Diego Donald Donna
    Dorothy Douglas Dylan Edith Eduardo Edward Eleanor Elena Elizabeth Ella Ellen Emily Emma Eric
    Erica Erik Ethan Eugene Evelyn Fatima Felix Fernando Fiona Florian Frances Francesca Francisco
    Franz Frederick Gabriel Gary Geoffrey George Gerald Gloria Graham Greg Gregory Hannah Harold
    Harriet Hassan Heather Hector Helen Helena Henry Howard Hugh Hugo Ian Ibrahim Ingrid Irene Isaac
    Isabella Ivan Jacob Jacqueline James Jamie Jan Jane Janet Janice Jason Javier Jean Jeffrey
    Jennifer Jeremy Jessica Joan Joanna Joe Johan Johannes John Johnny Jonathan Jordan Jorge Jose
    Joseph Joshua Joyce Juan Judith Julia Julian Julie Justin Karen Karl Katherine Kathleen Kathryn
    Katie Keith Kelly Kenneth Kevin Kimberly Klaus Kyle Lars Laura Lauren Laurence Lena Leon Leonard
    Liam Linda Lisa Logan Lorenzo Louis Louise Lucas Lucia Lucy Luis Luke Margaret Maria Marie
    Marilyn Mario Marion Martha Martin Mary Matthew Maureen Megan Melanie Melissa Michael Michel
    Michelle Miguel Mohammed Monica Muhammad Nancy Natalie Natasha Nathan Neil Nicholas Nicole Nigel
    Nina Noah Nora Oliver Olivia Omar Oscar Pablo Pamela Patricia Patrick Paul Paula Pauline Pedro
    Peter Philip Phillip Phyllis Rachel Ralph Raymond Rebecca Ricardo Richard Robert Roberto Roger
    Ronald Rosemary Roy Russell Ruth Ryan Sabine Samantha Samuel Sandra Sara Sarah Scott Sean
    Sebastian Sergio Sharon Shirley Simon Sofia Sophia Sophie Stefan Stephanie Stephen Steven Stuart
    Susan Suzanne Sylvia Tamara Teresa Theodore Theresa Thomas Tim Timothy Tina Tom Tracy Valerie
    Vanessa Vera Veronica Victor Victoria Vincent Virginia Walter Wayne Wendy William Yolanda Yusuf
    Zachary Zoe
    """
)
GIVEN = re.compile(rf"\b({WORD})(?: ((?:[A-Z]\. )?{PARTICLES}{WORD}))?")


def mask(text: str) -> str:
    """A text whose numbers and names are replaced by `[PHONE]`, `[EMAIL]`, `[CARD]` and so on.

    A masked text stays as it is: masked again, it is the same.

    Args:
        text: As people wrote it.
    """
    masked = _masked(text)
    while masked != text:
        text, masked = masked, _masked(masked)
    return text


def is_card(digits: str) -> bool:
    """Whether digits pass the check of Luhn (ISO/IEC 7812-1, annex B), as card numbers do."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return len(digits) in CARD_DIGITS and sum(n - 9 * (n > 9) for n in doubled) % 10 == 0  # noqa: PLR2004


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN by its check digits (ISO 13616: ISO 7064, modulo 97)."""
    characters = re.sub(rf"[{SPACES}-]", "", text).upper()
    if len(characters) not in IBAN_CHARACTERS:
        return False
    moved = characters[4:] + characters[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _masked(text: str) -> str:
    if "@" in text:
        text = EMAIL_ADDRESS.sub(EMAIL, text)
    text = IBAN.sub(_of_iban, text)
    text = NUMBERS.sub(lambda found: _of_numbers(found[0]), text)
    for cue in CUES:
        text = cue.sub(_of_cue, text)
    return GIVEN.sub(_of_given, text)


def _of_iban(found: re.Match[str]) -> str:
    """The match with an IBAN masked; words behind it, which may look like more of it, are kept."""
    # the separators are pieces as well
    pieces = re.split(rf"([{SPACES}-])", found[0])
    for end in range(len(pieces), 0, -2):
        if is_iban("".join(pieces[:end])):
            return "".join([ACCOUNT, *pieces[end:]])
    return found[0]


def _of_numbers(text: str) -> str:
    """Numbers between which spaces stand, with each run of them that is one thing masked."""
    # the separators are pieces as well
    pieces = SEPARATOR.split(text)
    start, found = 0, []
    while start < len(pieces):
        end, kind = _thing(pieces, start)
        found.append(kind or pieces[start])
        start = end
    return "".join(found)


def _thing(pieces: list[str], start: int) -> tuple[int, str]:
    """Where what begins at a piece ends, and what it is; empty where it is nothing.

    Every other piece is a separator. One that is something by itself stays alone; else the longest
    phone or card number counts, and then the longest of any kind.
    """
    if start % 2:
        return start + 1, ""
    spans = [(start + 1, _kind(pieces[start]))]
    if not spans[0][1]:
        ends = range(len(pieces), start, -1)
        spans = [(end, _kind("".join(pieces[start:end]))) for end in ends[::2] if pieces[start]]
    known = [span for span in spans if span[1] in {PHONE, CARD}] + [s for s in spans if s[1]]
    return known[0] if known else (start + 1, "")


def _kind(text: str) -> str:
    """What a number is; empty where it is none of those that are masked."""
    text = re.sub(rf"[{SPACES}]", " ", text)
    if any(_is_date(piece.strip("().")) for piece in text.split(" ")):
        return ""
    groups = re.findall(r"[0-9]+", text)
    digits = "".join(groups)
    if not groups:
        return ""
    if text.startswith(("+", "(+")) or digits.startswith("00"):
        return PHONE if len(digits.removeprefix("00")) in INTERNATIONAL_DIGITS else ""
    if digits.startswith("0") and len(digits) in NATIONAL_DIGITS:
        return PHONE
    if NORTH_AMERICAN.fullmatch(text):
        return PHONE
    shortest = min(map(len, groups[:-1] or groups))
    if shortest > 2 and is_card(digits):  # noqa: PLR2004
        return CARD
    if SOCIAL_SECURITY.fullmatch(text):
        return ACCOUNT
    if len(groups) == 1:
        return ACCOUNT if len(digits) >= LONG_RUN and not DAY.fullmatch(digits) else ""
    is_grouped = shortest in GROUPS and max(map(len, groups)) in GROUPS and "/" not in text
    return ACCOUNT if is_grouped and len(digits) >= LONG_GROUPS else ""


def _is_date(text: str) -> bool:
    """Whether a text can be a day: the year first or last, day and month in either order."""
    found = DATE.fullmatch(text)
    if found is None:
        return False
    first, second, last = int(found[1]), int(found[3]), int(found[4])
    if len(found[1]) > 2:  # noqa: PLR2004  # digits of a year
        return first in YEARS and second in MONTHS and last in DAYS
    is_day = (first in DAYS and second in MONTHS) or (first in MONTHS and second in DAYS)
    return is_day and (len(found[4]) == 2 or last in YEARS)  # noqa: PLR2004


def _of_cue(found: re.Match[str]) -> str:
    start, end = found.start(1) - found.start(), found.end(1) - found.start()
    if found[1].split()[0].lower() in NO_NAMES:
        return found[0]
    return found[0][:start] + NAME + found[0][end:]


def _of_given(found: re.Match[str]) -> str:
    """A given name, and the capitalised word behind it, which is its surname as a rule."""
    first, second = found[1], found[2]
    bare = re.sub(r"['\u2019]s$", "", first)
    plain = unicodedata.normalize("NFD", bare.partition("-")[0])
    name = "".join(letter for letter in plain if not unicodedata.combining(letter))
    if name.title() not in GIVEN_NAMES or not (bare.istitle() or bare.isupper()):
        if second is None:
            return found[0]
        # what stands behind may be a given name itself
        return f"{first} {GIVEN.sub(_of_given, second)}"
    kept = first[len(bare) :]
    is_surname = second and not kept and second.split()[-1].lower() not in NO_NAMES
    if is_surname:
        return NAME
    return f"{NAME}{kept}" + (f" {GIVEN.sub(_of_given, second)}" if second else "")
