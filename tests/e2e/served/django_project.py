"""A Django project that asks every view for a login, and every form for its token."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from lq import Queue
from lq.sdk.django import arespond, aurls, respond, urls

from . import MOST, PATH, ROUTE, SECRET, queue_at, read_after

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ],
    DATA_UPLOAD_MAX_MEMORY_SIZE=MOST,
    LOGGING_CONFIG=None,
)
django.setup()

VIEW, AVIEW, URLS, AURLS = (f"{PATH}/{name}" for name in ("view", "aview", "urls", "aurls"))
asks_database = Queue[Any]("asks", path="/lq/asks", secret=SECRET)
_of_view, _of_aview = queue_at(VIEW), queue_at(AVIEW, is_async=True)


@asks_database.handler
def ask_database() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 6 * 7")
        return int(cursor.fetchone()[0])


def view(request: HttpRequest) -> HttpResponse:
    answer = respond(_of_view, request)
    if answer.status_code == 200:
        read_after.put(request.body)
    return answer


async def aview(request: HttpRequest) -> HttpResponse:
    answer = await arespond(_of_aview, request)
    if answer.status_code == 200:
        read_after.put(request.body)
    return answer


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


def public(view: Any) -> Any:
    return csrf_exempt(login_not_required(view))


urlpatterns = [
    path("echo", public(echo)),
    path(f"{ROUTE[1:]}/view", public(view)),
    path(f"{ROUTE[1:]}/aview", public(aview)),
    *urls(queue_at(URLS)),
    *aurls(queue_at(AURLS, is_async=True)),
    *urls(asks_database),
]
