"""Sign-in and settings pages."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from alphastrat.accounts import views

app_name = "accounts"
urlpatterns = [
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", views.ChangePassword.as_view(), name="password-change"),
    path("settings/", views.user_settings, name="settings"),
    path("settings/tokens/", views.create_token, name="token-create"),
    path("settings/tokens/<uuid:token_id>/revoke/", views.revoke_token, name="token-revoke"),
    path("admin/login/", views.admin_login, name="admin-login"),
]
