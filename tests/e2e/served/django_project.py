"""A Django project, with its check against forged forms switched on."""

from __future__ import annotations

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from lq.sdk.django import arespond, aurls, respond, urls

from . import MOST, PATH, ROUTE, queue_at, read_after

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=MOST,
    LOGGING_CONFIG=None,
)
django.setup()

VIEW, AVIEW, URLS, AURLS = (f"{PATH}/{name}" for name in ("view", "aview", "urls", "aurls"))
_of_view, _of_aview = queue_at(VIEW), queue_at(AVIEW, is_async=True)


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


urlpatterns = [
    path("echo", csrf_exempt(echo)),
    path(f"{ROUTE[1:]}/view", csrf_exempt(view)),
    path(f"{ROUTE[1:]}/aview", csrf_exempt(aview)),
    *urls(queue_at(URLS)),
    *aurls(queue_at(AURLS, is_async=True)),
]
