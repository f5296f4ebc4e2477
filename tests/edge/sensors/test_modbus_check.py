"""`cornergrid-edge profile check`: all mistakes of a file at once, each with its key and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from edge import profile_commands
from edge.errors import ConfigError
from edge.sensors.modbus_check import Report, check_profile
from edge.sensors.modbus_profile import PROFILES

HEAD = 'title = "x"\nevidence = "documented"\nsource = "a manual"\n'
POINT = '[[points]]\nname = "air"\nfunction = 4\nregister = 1\ntype = "int16"\nscale = 0.1\nunit = "Cel"\nmin = -40\n'
VECTOR = ('[[vectors]]\nrequest = "01 04 00 01 00 01 60 0A"\nreply = "01 04 02 FF 33 B8 D5"\n'
          'expect = { air = -20.5 }\n')
GOOD = HEAD + POINT + VECTOR
COOL = POINT.replace('"air"', '"cool"')


def checked(tmp_path: Path, text: str) -> Report:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return check_profile(path)


def told(report: Report) -> list[str]:
    return [str(problem) for problem in (*report.mistakes, *report.doubts)]


def test_a_good_file_has_nothing_to_put_right(tmp_path: Path) -> None:
    report = checked(tmp_path, GOOD)

    assert (report.usable, told(report), report.passed, report.vectors) == (True, [], 1, 1)


@pytest.mark.parametrize(("text", "says"), [
    (HEAD + POINT, "vectors: there is none (add an exchange"),
    (GOOD.replace('evidence = "documented"\n', ""), "evidence: Field required (add it)"),
    (GOOD.replace('source = "a manual"\n', ""), "source: Field required (add it)"),
    (GOOD.replace('"a manual"', '""'), "source: "),
    (GOOD.replace("documented", "believed"), "evidence: Input should be 'documented'"),
    (GOOD.replace("function = 4", "function = 6"), "points.0.function: Input should be 1, 2, 3 or 4 (given 6)"),
    (GOOD.replace('"Cel"', '"degF"'), "points.0.unit: Input should be 'Cel'"),
    (GOOD.replace("min = -40", "minimum = -40"), "points.0.minimum: Extra inputs are not permitted (remove it)"),
    (HEAD + POINT + COOL + VECTOR.replace("}", ", cool = -20.5 }"),
     "points.1.register: cool overlaps air in register 1 of function 4 (give each"),
    (HEAD + POINT + COOL.replace("int16", "uint16") + VECTOR, "points.1.register: cool overlaps air"),
    (HEAD + POINT + COOL.replace("int16", "int32").replace("register = 1", "register = 0") + VECTOR,
     "points.1.register: cool overlaps air in register 1"),
    (GOOD.replace("int16", "uint16"), "points.0.type: air is a temperature without a sign"),
    (GOOD.replace("0.1", "0"), "points.0.scale: air is scaled by 0"),
    (GOOD.replace("0.1", "-0.1"), "points.0.scale: air is scaled by -0.1"),
    (GOOD.replace("min = -40", "min = 40\nmax = -40"), "points.0.min: 40 is not below max -40"),
    (GOOD.replace("min = -40", "sentinels = [0x18000]"), "points.0.sentinels: 98304 does not fit into int16"),
    (GOOD.replace("min = -40", 'min = -40\norder = "cdab"'), "points.0.order: int16 is one register"),
    (GOOD.replace("min = -40", "min = -40\nstatus = { register = 1 }"), "points.0.status.register: air is its own"),
    ('lookalikes = ["other"]\n' + GOOD, "lookalikes: no profile is named other"),
    (GOOD.replace("60 0A", "60 0B"), "vectors.0.request: the CRC of 01 04 00 01 00 01 is 60 0A"),
    (GOOD.replace("01 04 00 01 00 01 60 0A", "01 06 00 01 00 01 19 CA"), "vectors.0.request: function 6 is no read"),
    (GOOD.replace("B8 D5", "B8 D6"), "vectors.0.reply: is bad_frame, not a good answer (its CRC would be B8 D5"),
    (GOOD.replace("-20.5", "20.5"), "vectors.0.expect: air reads -20.5, not 20.5"),
    (GOOD.replace("-20.5", '"no_probe"'), "vectors.0.expect: air reads -20.5, not no_probe"),
    (GOOD.replace("{ air = -20.5 }", "{ air = -20.5, water = 1 }"), "vectors.0.expect: water is not in this answer"),
    (GOOD.replace("{ air = -20.5 }", "{}"), "vectors.0.expect: the answer also has air = -20.5 (add that)"),
    (GOOD.replace("{ air = -20.5 }", '"exception_2"'), "vectors.0.reply: is a good answer, not exception_2"),
    (GOOD.replace("FF 33", "FG 33"), "vectors.0.reply: "),
])
def test_each_mistake_is_told_with_its_key(tmp_path: Path, text: str, says: str) -> None:
    report = checked(tmp_path, text)

    assert any(str(problem).startswith(says) for problem in report.mistakes), told(report)


@pytest.mark.parametrize(("text", "says"), [
    (GOOD.replace("min = -40\n", ""), "points.0: air has no sentinels, status, min or max"),
    (GOOD.replace("0.1", "0.3").replace("-20.5", "-61.5").replace("-40", "-90"), "points.0.scale: 0.3 is not a power"),
    (GOOD.replace("FF 33 B8 D5", "01 31 79 74").replace("-20.5", "30.5"), "vectors: none has a temperature below zero"),
    (HEAD + POINT + COOL.replace("register = 1", "register = 7") + VECTOR, "vectors: none tries cool"),
])
def test_what_is_only_unusual_is_a_doubt(tmp_path: Path, text: str, says: str) -> None:
    report = checked(tmp_path, text)

    assert report.mistakes == ()
    assert any(str(problem).startswith(says) for problem in report.doubts), told(report)


def test_registers_that_share_no_bits_do_not_overlap(tmp_path: Path) -> None:
    bits = "".join(f'[[points]]\nname = "alarm-{n}"\nfunction = 3\nregister = 9\ntype = "bit"\nbit = {n}\n'
                   for n in (0, 11))
    report = checked(tmp_path, HEAD + POINT + bits + POINT.replace('"air"', '"held"').replace("= 4", "= 3") + VECTOR)

    assert report.mistakes == ()


def test_all_mistakes_come_at_once_even_where_the_form_is_wrong(tmp_path: Path) -> None:
    report = checked(tmp_path, HEAD.replace("source", "sauce") + POINT + COOL + COOL.replace("int16", "int61")
                     + VECTOR.replace("-20.5", "99") + VECTOR.replace("60 0A", "60 0B"))

    keys = {problem.key for problem in report.mistakes}
    assert keys >= {"source", "sauce", "points.2.type", "points.1.register", "vectors.0.expect", "vectors.1.request"}
    assert not report.usable


def test_a_file_that_is_not_there_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        check_profile(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is not TOML"):
        checked(tmp_path, "title = ")


@pytest.mark.parametrize("text", ["points = 3", "points = [3]", "vectors = [[]]", "[points]\nname = 3", "offsets = 7"])
def test_no_shape_of_file_makes_it_crash(tmp_path: Path, text: str) -> None:
    assert not checked(tmp_path, text).usable


def typed(*words: str) -> Result:
    app = typer.Typer()
    profile_commands.register(app)
    return CliRunner().invoke(app, ["profile", "check", *words])


def test_the_shipped_profiles_pass_as_typed() -> None:
    done = typed(*map(str, sorted(PROFILES.glob("*.toml"))))

    assert done.exit_code == 0
    assert "r4dcb08.toml: nothing is wrong; 3 of 3 vectors pass" in done.output


def test_exit_codes_tell_wrong_from_unusable(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("-20.5", "20.5"))
    wrong = typed(str(path))
    path.write_text(GOOD.replace("int16", "int61"))
    unusable = typed(str(path))

    assert (wrong.exit_code, unusable.exit_code, typed(str(tmp_path / "none.toml")).exit_code) == (1, 2, 2)
    assert "vectors.0.expect: air reads -20.5, not 20.5" in wrong.output
    assert "points.0.type" in unusable.output


def test_json_has_every_file_and_problem(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("-20.5", "20.5"))
    told = json.loads(typed("--json", str(path)).output)

    assert told["ok"] is False
    assert told["files"][0]["file"] == str(path)
    assert told["files"][0]["mistakes"][0]["key"] == "vectors.0.expect"
