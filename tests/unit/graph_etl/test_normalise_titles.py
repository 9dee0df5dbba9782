import pytest

from graph_etl.errors import ConfigError
from graph_etl.resolution.normalise import (
    load_words,
    squashed,
    title_forms,
    title_key,
    without_article,
    without_numbers,
)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Godfather, The", "the godfather"),
        ("Hussard sur le toit, Le", "le hussard sur le toit"),
        ("Uomo delle stelle, L'", "luomo delle stelle"),
        ("Blechtrommel, Die", "die blechtrommel"),
        ("Convento, O", "o convento"),
        ("Misérables, Les", "les miserables"),
        ("To Have, or Not", "to have or not"),
        ("Czerwony Łabędź", "czerwony labedz"),
        ("Dumb & Dumber", "dumb and dumber"),
        ("L.A. Confidential", "la confidential"),
        ("M*A*S*H", "mash"),
        ("20,000 Leagues", "20000 leagues"),
        ("Sunset Boulevard", "sunset blvd"),
        ("8½", "8 1 2"),
        ("", ""),
    ],
)
def test_title_key_folds_what_two_sources_write_differently(written, key):
    assert title_key(written) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Twelve Monkeys", "12 Monkeys"),
        ("One Hundred and One Dalmatians", "101 Dalmatians"),
        ("Twenty Thousand Leagues Under the Sea", "20,000 Leagues Under the Sea"),
        ("One Thousand Two Hundred Nights", "1200 Nights"),
        ("One Hundred Thousand Nights", "100000 nights"),
        ("Rocky II", "Rocky 2"),
        ("Louis XIV", "Louis 14"),
        ("Godfather: Part II, The", "The Godfather Part 2"),
        ("Part I", "Part 1"),
        ("The Sixth Man", "6th Man, The"),
    ],
)
def test_title_key_writes_numbers_as_digits(one, other):
    assert title_key(one) == title_key(other)


def test_title_key_keeps_the_pronoun_i_and_counted_numbers_apart():
    assert title_key("I, Robot") == "i robot"
    assert title_key("One Two Three") == "1 2 3"
    assert title_key("One and Only") == "1 and only"


def test_title_forms_read_brackets_as_alternative_titles():
    forms = title_forms("Manon of the Spring (Manon des sources) (1986)")
    assert forms.full == "manon of the spring"
    assert forms.alternatives[0] == "manon des sources"
    assert forms.year == 1986


def test_title_forms_drop_alias_prefixes_and_lone_numbers_in_brackets():
    assert title_forms("Nights (a.k.a. Bombay Nights)").alternatives[0] == "bombay nights"
    assert title_forms("(500) Days of Summer").alternatives == ("500 days of summer",)


def test_title_forms_part_title_and_subtitle():
    forms = title_forms("Star Wars: Episode IV – A New Hope")
    assert (forms.main, forms.tail) == ("star wars", "a new hope")
    both = title_forms("Dr. Strangelove or: How I Learned to Stop Worrying")
    assert both.main == "dr strangelove"
    assert title_forms("Spider-Man").main == ""


def test_title_forms_name_the_title_without_its_owner():
    assert title_forms("Robert A. Heinlein's The Puppet Masters").unowned == "the puppet masters"
    assert title_forms("William Shakespeare’s Romeo and Juliet").unowned == "romeo and juliet"
    assert title_forms("Bram Stoker's Dracula").unowned == ""  # one word alone says too little


def test_title_forms_of_a_title_that_is_only_a_bracket_keep_it():
    assert title_forms("(1984)").full == "1984"


def test_without_article_leaves_a_title_that_is_an_article():
    assert without_article("the godfather") == "godfather"
    assert without_article("the") == "the"


def test_squashed_and_without_numbers():
    assert squashed("spider man") == squashed("spiderman")
    assert without_numbers("star trek 2 the wrath") == "star trek the wrath"


def test_load_words_names_a_file_that_is_of_another_form(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("articles: [the]\n")
    with pytest.raises(ConfigError, match=r"Expected a file of title words.*words\.yaml"):
        load_words(path)
    with pytest.raises(ConfigError, match="absent"):
        load_words(tmp_path / "absent.yaml")
