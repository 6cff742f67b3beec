"""compose.yaml against the Compose specification, and against what this repository promises of it.

It is parsed here and never started: no container runs on the machines that run these tests.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.wiring import ROLES

ROOT = Path(__file__).parents[2]
ONCE = {"migrate", "topics"}
"""Containers that end when their work is done."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "compose.yaml")
    return parsed


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where `make compose` has been run."""
    for name in ("Makefile", "recibo.example.toml", "requirements-dev.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["make", "--silent", "compose"], cwd=tmp_path, check=True)  # noqa: S607  Whichever make.
    return tmp_path


def test_it_follows_the_compose_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_each_role_is_a_container_of_its_own(services: dict[str, Any]) -> None:
    commands = {name: service["command"] for name, service in services.items() if name not in _servers()}

    assert commands == {role: ["serve", role] for role in ROLES} | {name: [name] for name in ONCE}


def test_the_servers_are_the_ones_that_the_design_names(services: dict[str, Any]) -> None:
    images = {name: services[name]["image"] for name in _servers()}
    locked = (ROOT / "service/localstack/kafka-jars.lock").read_text()

    kafka = re.search(r"org\.apache\.kafka:kafka_2\.13:(\S+)", locked)
    assert kafka is not None
    assert images == {"postgres": "postgres:18", "kafka": f"apache/kafka:{kafka[1]}"}


def test_whatever_runs_on_has_a_health_check(services: dict[str, Any]) -> None:
    checked = {name for name, service in services.items() if "test" in service.get("healthcheck", {})}

    assert checked == set(services) - ONCE


def test_roles_run_read_only_and_without_privileges_and_not_as_root(services: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    for name in set(services) - _servers():
        role = services[name]
        assert role["read_only"] is True
        assert role["cap_drop"] == ["ALL"]
        assert role["security_opt"] == ["no-new-privileges:true"]
        assert not role.get("privileged") and "user" not in role
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE) == ["10001:10001"]


def test_secrets_come_as_files_and_stand_nowhere_else(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    declared = compose["secrets"]

    assert all(set(secret) == {"file"} for secret in declared.values())
    for service in services.values():
        assert set(service.get("secrets", ())) <= set(declared)
        for variable, value in service["environment"].items():
            assert not re.search(r"PASSWORD|DATABASE_URL|TOKEN|KEY", variable) or variable.endswith("_FILE")
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_one_service_builds_the_image_and_the_others_take_it_from_there(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if name not in _servers()}

    assert {service["image"] for service in ours.values()} == {"recibo"}
    assert [name for name, service in services.items() if "build" in service] == ["migrate"]
    assert {service["pull_policy"] for name, service in ours.items() if name != "migrate"} == {"never"}


def test_whatever_secret_a_service_is_given_something_in_it_reads(
    compose: dict[str, Any], services: dict[str, Any], made: Path
) -> None:
    contents = {
        name: config.get("content") or _without_comments((made / config["file"]).read_text())
        for name, config in compose["configs"].items()
    }

    for name, service in services.items():
        configs = [contents[config["source"]] for config in service.get("configs", ())]
        read = "\n".join([*configs, *service["environment"].values()])
        unread = {
            secret
            for secret in service.get("secrets", ())
            if not re.search(rf"/run/secrets/{secret}\b", read)
        }
        assert unread == set(), name


def test_every_published_port_is_the_machines_own(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_make_compose_writes_every_file_that_it_mounts(compose: dict[str, Any], made: Path) -> None:
    mounted = [*compose["secrets"].values(), *compose["configs"].values()]
    assert [one["file"] for one in mounted if "file" in one and not (made / one["file"]).is_file()] == []
    settings = (made / "compose/recibo.toml").read_text()
    asked = set(re.findall(r"/run/secrets/(\w+)", _without_comments(settings)))
    assert tomllib.loads(settings)["sources"]
    # One broker is all that there is.
    assert tomllib.loads(settings)["kafka"]["replicas"] == 1
    assert asked <= set(compose["services"]["ingress"]["secrets"])


def test_the_image_is_built_from_what_the_build_context_lets_in() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)


def test_the_images_lock_is_part_of_what_the_tests_ran_with() -> None:
    image, tested = (
        set(re.findall(r"^(\S+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )

    assert image <= tested
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert not re.search(r"https?://|^-", (ROOT / name).read_text(), re.MULTILINE), name


def _without_comments(settings: str) -> str:
    return re.sub(r"(?m)^ *#.*", "", settings)


def _servers() -> set[str]:
    return {"postgres", "kafka"}
