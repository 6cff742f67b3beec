# One image for every role: `docker run … recibo serve ingress`. Nothing is built from source, nothing
# runs as root, and no secret is in a layer: secrets come as files at run time.

FROM python:3.11-slim AS dependencies
COPY requirements.lock /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement /requirements.lock

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin recibo
COPY --from=dependencies /venv /venv
COPY migrations /app/migrations
COPY projections /app/projections
COPY service /app/service
RUN /venv/bin/python -m compileall -q /app
WORKDIR /app
USER 10001:10001
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONUTF8=1 \
    RECIBO_CONFIG=/etc/recibo/recibo.toml
EXPOSE 8080
ENTRYPOINT ["python", "-m", "service"]
