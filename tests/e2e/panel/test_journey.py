"""A day at the panel, from the link to the log-out: what is done there is really done."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Visit
from tests.e2e.conftest import Start
from tests.e2e.endpoint import FAILED, OK, Answer, Call, Endpoint
from tests.e2e.process import Daemon, environment, run_lq, wait_until
from tests.support.scene import KEY, Scene

from .conftest import log_in

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def lq(start: Start) -> Daemon:
    return start("[retry]\nretries = 0\n[breaker]\nfailures = 0")


async def test_a_day_at_the_panel(lq: Daemon, endpoint: Endpoint, visit: Visit) -> None:
    page = visit.page
    await log_in(lq, page)

    # A token, made here, is used by a command on another machine.
    await page.goto(f"{lq.url}/tokens")
    await page.get_by_role("link", name="New token").click()
    await page.get_by_label("Name").fill("shop")
    await page.get_by_label("push").check()
    await page.get_by_role("button", name="Create token").click()
    token = await page.locator("code", has_text="lq_").first.inner_text()
    elsewhere = environment(lq.folder, LQ_TOKEN=token, LQ_API_URL=lq.url)

    # What it pushes is seen to wait, to run and to end, without a reload.
    gate = endpoint.hold("/hook")
    await page.goto(f"{lq.url}/queues")
    await expect(page.locator("main")).to_contain_text("No queue yet")
    target = endpoint.url("/hook")
    pushing = ("push", "--queue", "mail", "--key", "hello", "--target", target, "--data", "{}")
    done = run_lq(*pushing, cwd=lq.folder, environ=elsewhere)
    assert done.code == 0, done.stderr
    await expect(page.locator("#queues")).to_contain_text("at work")
    await page.get_by_role("link", name="mail").click()
    await page.get_by_role("link", name="hello").click()
    await expect(page.locator("main")).to_contain_text("running")
    gate.set()
    await expect(page.locator("main")).to_contain_text("completed")
    await expect(page.locator(".timeline")).to_contain_text("200")

    # A pause holds what comes, and its end lets it go.
    await page.goto(f"{lq.url}/queues/mail")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#pause")).to_contain_text("Paused")
    assert run_lq(*pushing, cwd=lq.folder, environ=elsewhere).code == 0
    await expect(page.locator("#waiting")).to_contain_text("hello")
    assert lq.client.queue("mail")["pending"] == 1
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#waiting")).to_contain_text("Nothing waits here")
    assert lq.client.queue("mail")["completed"] == 2


async def test_a_schedule_is_made_and_changed(lq: Daemon, endpoint: Endpoint, visit: Visit) -> None:
    page = visit.page
    await log_in(lq, page)
    await page.goto(f"{lq.url}/schedules")
    await page.get_by_role("link", name="New schedule").first.click()
    await page.get_by_label("Rule").fill("30 2 * * *")
    await expect(page.locator("#explanation")).to_contain_text("At 02:30 every day")
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await expect(page.locator("#explanation")).to_contain_text("+01:00")
    await page.get_by_label("Rule").fill("30 25 * * *")
    await expect(page.locator("#explanation")).to_contain_text("hour")
    await page.get_by_label("Rule").fill("30 2 * * *")
    await page.get_by_label("Queue").fill("backups")
    await page.get_by_label("Target").fill(endpoint.url("/backup"))
    await page.get_by_label("Key", exact=True).fill("nightly")
    await page.locator("main form button.main").click()
    await expect(page.locator("h1")).to_have_text("nightly")
    assert lq.client.schedule("nightly")["timezone"] == "Europe/Berlin"

    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Rule").fill("0 4 * * 1-5")
    await expect(page.locator("#explanation")).to_contain_text("At 04:00 on Monday to Friday")
    await page.locator("main form button.main").click()
    await expect(page.locator("h1")).to_have_text("nightly")
    assert lq.client.schedule("nightly")["schedule"] == "0 4 * * 1-5"

    await page.get_by_role("button", name="Run now").click()
    assert endpoint.next().path == "/backup"
    await expect(page.locator("main")).to_contain_text("completed")


async def test_a_failure_is_replayed(lq: Daemon, endpoint: Endpoint, visit: Visit) -> None:
    answers = iter([FAILED])

    def behaviour(_: Call) -> Answer:
        return next(answers, OK)

    endpoint.on("/bad", behaviour)
    item = lq.client.push("billing", json={"invoice": 1}, target=endpoint.url("/bad"))
    wait_until(lambda: lq.client.item(item["id"])["state"] == "FAILED")
    page = visit.page
    await log_in(lq, page)
    await page.goto(f"{lq.url}/failures")
    await expect(page.locator("main")).to_contain_text("status 500")
    await page.get_by_role("link", name="Replay").first.click()
    await expect(page.locator(".count")).to_contain_text("1 item matches")
    assert lq.client.item(item["id"])["state"] == "FAILED"
    await page.get_by_role("button", name="Replay 1 item").click()
    wait_until(lambda: lq.client.item(item["id"])["state"] == "COMPLETED")
    await page.goto(f"{lq.url}/items/{item['id']}")
    await expect(page.locator(".timeline > li")).to_have_count(2)


async def test_a_revoked_token_is_worth_nothing_and_a_logout_is_one(
    lq: Daemon, visit: Visit
) -> None:
    token = lq.client.create_token("shop", ["push"])["token"]
    elsewhere = environment(lq.folder, LQ_TOKEN=token, LQ_API_URL=lq.url)
    pushing = ("push", "--queue", "q", "--target", "https://example.com/", "--delay", "1h")
    assert run_lq(*pushing, cwd=lq.folder, environ=elsewhere).code == 0
    page = visit.page
    await log_in(lq, page)
    await page.goto(f"{lq.url}/tokens")
    await page.get_by_role("link", name="Revoke").click()
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.locator("main")).to_contain_text("shop")
    assert run_lq(*pushing, cwd=lq.folder, environ=elsewhere).code == 4

    await page.get_by_role("button", name="Log out").click()
    await expect(page.locator("h1")).to_have_text("Log in")
    await page.goto(f"{lq.url}/queues")
    await expect(page.locator("h1")).to_have_text("Log in")
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("Log in")


async def test_a_payload_is_decrypted_here_and_nowhere_else(scene: Scene, looking: Page) -> None:
    sent: list[str] = []
    looking.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    await looking.goto(f"{scene.url}/items/{scene.items['sealed']}")
    await expect(looking.locator("[data-sealed]").first).to_be_visible()
    assert "iban" not in (await looking.content()).replace("iban-ada", "")
    field = looking.locator("[data-sealed] input").first
    await field.fill("22" * 32)
    await looking.locator("[data-sealed] button").first.click()
    await expect(looking.locator("[data-sealed] [role=alert]").first).to_contain_text("another key")
    await field.fill(KEY)
    await looking.locator("[data-sealed] button").first.click()
    plain = looking.locator("[data-sealed] [data-plain]").first
    await expect(plain).to_contain_text("DE02 1203 0000 0000 2020 51")
    assert not any(KEY in one for one in sent)
    assert KEY not in looking.url


async def test_a_scriptlets_output_is_seen_as_it_comes(
    start: Start, visit: Visit, tmp_path: Path
) -> None:
    script = "echo first; until [ -e go ]; do sleep 0.05; done; echo second"
    go = tmp_path / "go"
    command = f'command = ["/bin/sh", "-c", "{script}"]'
    lq = start(f'[scriptlets.slow]\n{command}\ncwd = "{tmp_path}"')
    item = lq.client.push("jobs", target="scriptlet:slow")
    page = visit.page
    await log_in(lq, page)
    await page.goto(f"{lq.url}/items/{item['id']}")
    output = page.locator("pre", has_text="first").first
    await expect(output).to_be_visible()
    assert "second" not in await output.inner_text()
    go.touch()
    await expect(page.locator("pre", has_text="second").first).to_be_visible()
    await expect(page.locator("main")).to_contain_text("completed")
