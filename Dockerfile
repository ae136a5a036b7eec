# The image of job and service: docker build -t rllib-tactical:0.1.0 .
FROM python:3.11-slim-bookworm

# wget: Kubernetes asks through it whether a Ray node is well.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray \
    && install --directory --owner=ray /state

# Packages first: they change seldom and are most of the image.
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY rllib_tactical/__init__.py rllib_tactical/
RUN python -m venv /opt/env \
    && /opt/env/bin/python -m pip install --no-cache-dir -c constraints.txt setuptools \
    && /opt/env/bin/python -m pip install --no-cache-dir -c constraints.txt --no-build-isolation -e ".[notify,redis,serve,train]"

COPY rllib_tactical rllib_tactical
COPY envs envs
COPY serve serve
COPY tune_configs tune_configs

ENV PATH=/opt/env/bin:$PATH OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0
USER 1000
WORKDIR /home/ray
EXPOSE 8001
# Of the service; a container that runs something else is started with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=2m \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8001/ready"]
CMD ["tactical", "--help"]
