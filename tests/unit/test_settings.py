"""Settings: everything valid is read, every fault is listed at once, no secret is ever shown."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.checks import AddressCheck, AuthorizationCheck, BasicCheck, HeaderCheck, HmacCheck, UrlTokenCheck
from service.errors import ConfigurationError
from service.settings import Settings, config_path, load

SECRET = "s3cret-of-the-test-suite"
OTHER_SECRET = "the-next-s3cret-in-rotation"
ENVIRON = {
    "RECIBO_DATABASE_URL": f"postgresql://recibo:{SECRET}@localhost/recibo",
    "RECIBO_KAFKA_BOOTSTRAP": "localhost:9092",
    "TOKEN": SECRET,
    "NEXT_TOKEN": OTHER_SECRET,
}


def loaded(folder: Path, toml: str = "", **environ: str) -> Settings:
    config = folder / "recibo.toml"
    config.write_text(toml, encoding="utf-8")
    return load({**ENVIRON, **environ}, config)


def faults_of(folder: Path, toml: str = "", environ: Mapping[str, str] = ENVIRON) -> str:
    config = folder / "recibo.toml"
    config.write_text(toml, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(environ, config)
    return "\n".join(raised.value.faults)


def source(checks: str, more: str = "") -> str:
    return f'[sources.shop]\nprovider = "gen"\nchecks = {checks}\n{more}\n'


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    settings = loaded(tmp_path)

    assert settings.log_name == "main"
    assert settings.sources == {}
    assert settings.ingress.body_bytes_max == 1_048_576
    assert settings.ingress.port == 8080
    assert settings.health.port is None
    assert settings.reading.barte_zone == "America/Sao_Paulo"
    assert settings.database.migration_url == settings.database.url


def test_that_the_storage_is_durable_must_be_said_plainly(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[database]\nstorage_is_durable = true").database.storage_is_durable
    faults = faults_of(tmp_path, '[database]\nstorage_is_durable = "yes"')
    assert faults == "database.storage_is_durable: takes true or false"


def test_the_example_is_valid_and_its_tables_hold_the_defaults() -> None:
    names = ("BARTE_TOKEN", "ADMIN_SIGNING_KEY", "ADMIN_TOKEN", "GEN_TOKEN", "APROVEI_TOKEN")
    example = Path(__file__).parents[2] / "recibo.example.toml"

    settings = load({**ENVIRON, **dict.fromkeys(names, SECRET)}, example)

    assert sorted(settings.sources) == ["admin-shop", "aprovei-shop", "barte-shop", "gen-shop"]
    assert settings.kafka.replicas == type(settings.kafka).replicas == 3
    assert settings.ingress == type(settings.ingress)()
    assert settings.relay == type(settings.relay)()
    assert settings.projector == type(settings.projector)()
    assert not settings.database.storage_is_durable
    assert settings.database.pool_size_max == type(settings.database).pool_size_max


def test_a_sources_account_is_its_own_name_unless_declared(tmp_path: Path) -> None:
    toml = source('"none"') + '[sources.second]\nprovider = "barte"\naccount = "shop"\nchecks = "none"'

    sources = loaded(tmp_path, toml).sources

    assert (sources["shop"].account, sources["second"].account) == ("shop", "shop")


def test_every_kind_of_check_can_be_declared(tmp_path: Path) -> None:
    toml = source(
        """[
        { kind = "authorization", secrets = ["env:TOKEN", "env:NEXT_TOKEN"] },
        { kind = "url_token", secrets = ["env:TOKEN"] },
        { kind = "hmac", header = "X-S", secrets = ["env:TOKEN"], timestamp_header = "X-T", window_s = 60 },
        { kind = "header", header = "X-Secret", secrets = ["file:secret"] },
        { kind = "address", allow = ["203.0.113.0/24", "2001:db8::1"] },
    ]"""
    )
    (tmp_path / "secret").write_text(f"{SECRET}\n", encoding="utf-8")

    authorization, url_token, hmac, header, address = loaded(tmp_path, toml).sources["shop"].checks

    assert isinstance(authorization, AuthorizationCheck) and len(authorization.secrets) == 2
    assert isinstance(url_token, UrlTokenCheck)
    assert isinstance(hmac, HmacCheck)
    assert (hmac.header, hmac.timestamp_header, hmac.window_s, hmac.signed) == (
        "x-s",
        "x-t",
        60,
        "timestamp.body",
    )
    assert isinstance(header, HeaderCheck) and bytes(header.secrets[0]) == SECRET.encode()
    assert isinstance(address, AddressCheck) and len(address.allow) == 2


def test_basic_takes_a_username(tmp_path: Path) -> None:
    toml = source('[{ kind = "basic", username = "gen", secrets = ["env:TOKEN"] }]')

    (basic,) = loaded(tmp_path, toml).sources["shop"].checks

    assert isinstance(basic, BasicCheck) and basic.username == "gen"


def test_an_hmac_without_a_timestamp_signs_the_body_alone(tmp_path: Path) -> None:
    toml = source('[{ kind = "hmac", header = "X-Signature", secrets = ["env:TOKEN"] }]')

    (hmac,) = loaded(tmp_path, toml).sources["shop"].checks

    assert isinstance(hmac, HmacCheck) and hmac.signed == "body"


def test_the_database_url_can_come_from_a_file(tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text("postgresql://elsewhere/recibo\n", encoding="utf-8")

    settings = loaded(tmp_path, "", RECIBO_DATABASE_URL="", RECIBO_DATABASE_URL_FILE=str(url))

    assert settings.database.url == "postgresql://elsewhere/recibo"


def test_every_fault_of_file_and_environment_is_listed_at_once(tmp_path: Path) -> None:
    toml = """
    [sources.Shop]
    provider = "bart"
    checks = "none"
    [sources.operator]
    provider = "operator"
    checks = []
    [sources.open]
    provider = "gen"
    [sources.faulty]
    provider = "gen"
    account = "has blanks"
    checks = [
        { kind = "url_tokn" },
        { kind = "header", secrets = ["env:MISSING", "plain"] },
        { kind = "address", allow = ["10.0.0.1/8", "somewhere"] },
        { kind = "hmac", header = "X-S", secrets = ["file:none"], encoding = "octal" },
    ]
    [fold]
    barte_zone = "America/Nowhere"
    payer_key = "env:SHORT"
    [ingress]
    queue_row_max = 5
    body_bytes_max = 2000000
    append_timeout_s = "soon"
    [relay]
    rows_max = 0
    [projectr]
    """

    faults = faults_of(tmp_path, toml, {"SHORT": "short", "RECIBO_HTTP_PORT": "http"})

    for fault in (
        "RECIBO_DATABASE_URL: is not set",
        "RECIBO_KAFKA_BOOTSTRAP: is not set",
        "RECIBO_HTTP_PORT: takes a port",
        "sources.Shop: a source's name takes",
        "sources.Shop.provider: takes one of admin, aprovei, barte, gen (did you mean barte?)",
        "sources.operator: operator is",
        "sources.operator.provider: takes one of",
        "sources.operator.checks: takes a list",
        'sources.open.checks: takes a list of tables, such as [{ kind = "url_token", … }], or "none"',
        "sources.faulty.account: takes 1 to 40",
        "sources.faulty.checks[0].kind: takes one of authorization, url_token",
        "basic, address (did you mean url_token?)",
        "sources.faulty.checks[1].header: takes the name of a header",
        "sources.faulty.checks[1].secrets[0]: the environment variable MISSING is not set",
        'sources.faulty.checks[1].secrets[1]: takes "env:NAME" or "file:PATH"',
        "sources.faulty.checks[2].allow: a range has bits set beyond its length",
        "sources.faulty.checks[2].allow: takes a list of addresses",
        "sources.faulty.checks[3].secrets[0]: the file none cannot be read",
        "sources.faulty.checks[3].encoding: takes one of hex, base64, base64url",
        "fold.barte_zone: takes the IANA name",
        "fold.payer_key: the environment variable SHORT is shorter than 16 characters",
        "ingress.queue_row_max: is not known (did you mean queue_rows_max?)",
        "ingress.body_bytes_max: takes a whole number from 1 to 1048576",
        "ingress.append_timeout_s: takes a number of seconds",
        "relay.rows_max: takes a whole number from 1",
        "projectr: is not known (did you mean projector?)",
    ):
        assert fault in faults


def test_a_missing_file_is_reported_with_the_environments_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load({}, tmp_path / "none.toml")

    assert len(raised.value.faults) == 3
    assert "RECIBO_CONFIG" in raised.value.faults[0]


@pytest.mark.parametrize("value", ["", "   ", "fifteen-letters", f" {SECRET}", f"{SECRET}\t"])
def test_an_unfit_secret_is_a_fault(tmp_path: Path, value: str) -> None:
    toml = source('[{ kind = "url_token", secrets = ["env:UNFIT"] }]')

    faults = faults_of(tmp_path, toml, {**ENVIRON, "UNFIT": value})

    assert "sources.shop.checks[0].secrets[0]: the environment variable UNFIT" in faults


@pytest.mark.parametrize("character", list('+%/?#& \\"<>[]{}|^`é€'))
def test_a_secret_that_a_url_would_change_is_a_fault_which_does_not_show_it(
    tmp_path: Path, character: str
) -> None:
    secret = f"half-of-a-secret{character}the-other-half"
    toml = source('[{ kind = "url_token", secrets = ["env:TOKEN", "env:CHANGED"] }]')

    faults = faults_of(tmp_path, toml, {**ENVIRON, "CHANGED": secret})

    assert "sources.shop.checks[0].secrets[1]: the secret takes A-Z" in faults
    assert "a URL changes every other character" in faults
    assert "half" not in faults


def test_a_secret_that_a_url_leaves_as_it_is_is_taken(tmp_path: Path) -> None:
    toml = source('[{ kind = "url_token", secrets = ["env:SAFE"] }]')

    (check,) = loaded(tmp_path, toml, SAFE="azAZ09-._~!$'()*,:;=@==").sources["shop"].checks

    assert isinstance(check, UrlTokenCheck)


def test_another_check_takes_any_characters(tmp_path: Path) -> None:
    toml = source('[{ kind = "authorization", secrets = ["env:ANY"] }]')

    assert loaded(tmp_path, toml, ANY="with+and%and é, long enough").sources["shop"].checks


def test_whether_a_source_answers_probes_is_declared(tmp_path: Path) -> None:
    assert loaded(tmp_path, source('"none"', "answers_probes = true")).sources["shop"].answers_probes
    assert not loaded(tmp_path, source('"none"')).sources["shop"].answers_probes
    assert "takes true or false" in faults_of(tmp_path, source('"none"', "answers_probes = 1"))


@pytest.mark.parametrize(
    ("checks", "more"),
    [
        (
            '[{ kind = "header", header = "X-Secret", secrets = ["env:TOKEN"] }]',
            'headers_kept = ["x-secret"]',
        ),
        ('[{ kind = "url_token", secrets = ["env:TOKEN"] }]', 'headers_kept = ["Authorization"]'),
        ('[{ kind = "header", header = "User-Agent", secrets = ["env:TOKEN"] }]', ""),
        (
            '[{ kind = "hmac", header = "X-S", timestamp_header = "X-T", secrets = ["env:TOKEN"] }]',
            'headers_kept = ["X-T"]',
        ),
    ],
)
def test_no_header_that_a_check_reads_can_be_stored(tmp_path: Path, checks: str, more: str) -> None:
    faults = faults_of(tmp_path, source(checks, more))

    assert "sources.shop." in faults


def test_a_header_that_another_source_reads_cannot_be_stored_either(tmp_path: Path) -> None:
    toml = source('[{ kind = "header", header = "X-Secret", secrets = ["env:TOKEN"] }]')
    toml += '[sources.other]\nprovider = "gen"\nchecks = "none"\nheaders_kept = ["X-Secret"]'

    faults = faults_of(tmp_path, toml)

    assert "sources.other.headers_kept: x-secret" in faults


def test_two_checks_that_can_never_both_pass_are_a_fault(tmp_path: Path) -> None:
    toml = source(
        '[{ kind = "authorization", secrets = ["env:TOKEN"] },'
        ' { kind = "basic", username = "gen", secrets = ["env:TOKEN"] }]'
    )

    assert "another check reads authorization too" in faults_of(tmp_path, toml)


def test_no_secret_shows_in_any_representation(tmp_path: Path) -> None:
    toml = source('[{ kind = "url_token", secrets = ["env:TOKEN", "env:NEXT_TOKEN"] }]')
    toml += '[fold]\npayer_key = "env:TOKEN"'

    settings = loaded(tmp_path, toml)

    parts = (settings, settings.reading, settings.sources["shop"].checks[0], settings.database)
    shown = "".join(f"{part!r} {part}" for part in parts)
    assert SECRET not in shown
    assert OTHER_SECRET not in shown


def test_no_secret_shows_in_a_fault(tmp_path: Path) -> None:
    toml = source(f'[{{ kind = "url_token", secrets = ["{SECRET}", "env:{SECRET}"] }}]')

    faults = faults_of(tmp_path, toml, {"RECIBO_DATABASE_URL": SECRET, "RECIBO_KAFKA_BOOTSTRAP": SECRET})

    assert SECRET not in faults


def test_the_configs_place_comes_from_the_environment() -> None:
    assert config_path({}) == Path("recibo.toml")
    assert config_path({"RECIBO_CONFIG": "/etc/recibo.toml"}) == Path("/etc/recibo.toml")
