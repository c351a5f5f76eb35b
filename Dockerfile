# The service and one bundle, nothing of training. Build it with `make image`, or:
#   docker build --build-arg BUNDLE=models/NAME --tag pltv .
# The base must bring Python 3.11 or newer with pip and venv; a bundle's libraries need only libc and libm, of the platform
# that the bundle was compiled for.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY pyproject.toml requirements/lock.txt ./
# The core dependencies of pyproject.toml, without the extras, in the versions of the lock; the environment needs no pip.
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > core.txt \
 && python3 -m venv --without-pip /srv/venv \
 && python3 -m pip --python /srv/venv/bin/python install --no-cache-dir --only-binary :all: --constraint lock.txt --requirement core.txt
COPY LICENSE NOTICE /srv/
COPY app /srv/app
RUN /srv/venv/bin/python -m compileall -q /srv/app

FROM ${BASE_IMAGE}
RUN groupadd --gid 10001 pltv && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv --shell /usr/sbin/nologin pltv
COPY --from=build /srv /srv
# A directory, not a link: a bundle is verified file by file when the service starts.
ARG BUNDLE=models/current
COPY ${BUNDLE} /srv/bundle
WORKDIR /srv
# Runs on a read-only root; only several workers need a writable /tmp, for the metrics that they share.
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PLTV_BUNDLE=/srv/bundle
EXPOSE 8000
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["--host", "0.0.0.0", "--port", "8000"]
