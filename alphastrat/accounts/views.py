"""Sign in, sign out, password, settings and API tokens."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse, reverse_lazy
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from alphastrat.accounts.forms import PreferencesForm, SignInForm, TokenForm
from alphastrat.accounts.models import ApiToken
from alphastrat.core.clients import client_address
from alphastrat.core.http import PageRequest, render_page
from alphastrat.core.throttling import Rate, spend

UNPROCESSABLE = 422
TOO_MANY = 429


class SignIn(auth_views.LoginView):
    """Sign in; django-axes locks out who guesses, and every address has a rate."""

    template_name = "accounts/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        rate = Rate(settings.LOGIN_TRIES_PER_MINUTE)
        wait = spend("login", client_address(request), rate, at=time.time())
        if not wait:
            return super().post(request, *args, **kwargs)
        form = SignInForm(request)
        context = self.get_context_data(form=form, wait_text=f"Try again in {wait} seconds.")
        response = self.render_to_response(context, status=TOO_MANY)
        response["Retry-After"] = str(wait)
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=UNPROCESSABLE)


class ChangePassword(auth_views.PasswordChangeView):
    """Change one's own password; every other session of the user ends."""

    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("accounts:settings")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "Your password is changed; other sessions are signed out.")
        return super().form_valid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=UNPROCESSABLE)


def admin_login(request: HttpRequest) -> HttpResponse:
    """Send the Django admin's visitors through the one login page."""
    if request.user.is_authenticated:
        raise PermissionDenied("The administration needs the admin role.")
    query = urlencode({"next": request.GET.get("next", reverse("admin:index"))})
    return redirect(f"{reverse('accounts:login')}?{query}")


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def user_settings(request: PageRequest) -> HttpResponseBase:
    form = PreferencesForm(request.POST or None, instance=request.user)
    if request.method == "GET" or not form.is_valid():
        status = 200 if request.method == "GET" else UNPROCESSABLE
        return _settings_page(request, "accounts/_preferences.html", status, preferences=form)
    form.save()
    messages.success(request, "Your settings are saved.")
    if request.htmx:
        # The theme stands on <html>: only a fresh page can show it.
        return HttpResponse(headers={"HX-Redirect": reverse("accounts:settings")})
    return redirect("accounts:settings")


@login_required
@never_cache
@require_POST
def create_token(request: PageRequest) -> HttpResponseBase:
    form = TokenForm(request.POST, user=request.user)
    if not form.is_valid():
        return _settings_page(request, "accounts/_tokens.html", UNPROCESSABLE, token_form=form)
    token, secret = ApiToken.issue(
        request.user,
        name=form.cleaned_data["name"],
        scope=form.cleaned_data["scope"],
        expires_at=form.expires_at(at=now()),
    )
    return _settings_page(request, "accounts/_tokens.html", new_token=token, secret=secret)


@login_required
@never_cache
@require_POST
def revoke_token(request: PageRequest, token_id: UUID) -> HttpResponseBase:
    token = get_object_or_404(ApiToken.objects.for_user(request.user), pk=token_id)
    token.revoke(at=now())
    if not request.htmx:
        messages.success(request, f"The token “{token.name}” is revoked.")
        return redirect("accounts:settings")
    return _settings_page(request, "accounts/_tokens.html")


def _settings_page(
    request: PageRequest, fragment: str, status: int = 200, **context: Any
) -> HttpResponse:
    at = now()
    tokens = list(ApiToken.objects.for_user(request.user))
    shown = {
        "preferences": PreferencesForm(instance=request.user),
        "token_form": TokenForm(user=request.user),
        "tokens": [(token, _token_status(token, at=at)) for token in tokens],
        **context,
    }
    return render_page(request, "accounts/settings.html", fragment, shown, status)


def _token_status(token: ApiToken, *, at: Any) -> str:
    if token.revoked_at is not None:
        return "stopped"
    return "active" if token.is_usable(at=at) else "expired"
