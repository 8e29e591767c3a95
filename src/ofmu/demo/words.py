"""The words of which the demo's people and their facts are made; none of it means anybody."""

from __future__ import annotations


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


FIRST_NAMES = _words(
    "Mira Tobias Ilka Joren Selma Anselm Petra Casimir Runa Matteo Odile Fedor Yara Lennart Bruna "
    "Silvan Thea Orson Nadia Emeric Wanda Kilian Paloma Edgar Livia Ruben Astrid Cosmo Hedda Iven "
    "Zora Balint"
)
LAST_NAMES = _words(
    "Holt Varga Lindqvist Okonma Brandauer Sorel Teixeira Wolny Hadley Marchetti Dubrow Eskola "
    "Farrow Kessling Nyman Pryce Quintero Rask Stavros Ulmer Vesely Wexford Yilmar Zander Abadie "
    "Borg Corvin Dahl Estrada Fenwick Gruber Ibsen"
)
TOWNS = _words(
    "Bergen Porto Tartu Ghent Lucca Galway Kraków Bilbao Uppsala Delft Rijeka Nantes Graz Patras Cork Aarhus"
)
DAYS = _words("2 3 5 8 9 11 12 14 17 19 20 22 23 26 27 30")
MONTHS = _words("January February March April May June July August September October November December")
TRADES = _words(
    "tram driver|beekeeper|map maker|lens grinder|bell founder|paper restorer|harbour pilot|"
    "bookbinder|glass blower|court clerk|bridge engineer|seed merchant|radio announcer|violin maker|"
    "night nurse|tax inspector",
    "|",
)
INSTRUMENTS = _words(
    "cello|tuba|accordion|oboe|harp|banjo|bassoon|zither|trombone|mandolin|organ|flute|timpani|clarinet|viola|lute",
    "|",
)
COATS = _words("grey black spotted white brown ginger striped golden")
ANIMALS = _words("parrot cat goat ferret tortoise greyhound rabbit donkey")
PET_NAMES = _words("Pim Olga Bruno Dot Figaro Mops Tilly Nero")
BASES = _words("leek potato lentil trout mushroom pumpkin chicken barley")
DISHES = _words("soup pie dumplings stew salad risotto pancakes curry")
SIDES = _words("walnuts capers dill horseradish almonds sage plums cheese")
QUALITIES = _words("Silent Salt Broken Winter Distant Paper Crooked Second")
THINGS = _words("Lantern Harbour Orchard Staircase Meridian Window Ferry Garden")
