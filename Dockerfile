# The image of job and service, for processors (CPU) unless told otherwise:
#   docker build --build-arg TORCH_INDEX=INDEX -t rllib-tactical:0.1.0 .
# INDEX is the package index that PyTorch's installation page names for "CPU". With a GPU:
#   docker build --build-arg VARIANT=gpu --build-arg TORCH_INDEX=INDEX -t rllib-tactical:0.1.0-gpu .
# with the index that it names for your CUDA. Without TORCH_INDEX the package index of pip is asked,
# whose PyTorch for Linux has CUDA: then a build for processors ends with a message.
# The digest is that of the tag's list of platforms, so the base cannot change. The image for a GPU was
# never built by the project.
ARG PYTHON=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# hadolint ignore=DL3006
FROM ${PYTHON} AS packages
ARG VARIANT=cpu
ARG TORCH_INDEX=

WORKDIR /app
COPY constraints.txt ./
RUN python -m venv /opt/env \
    && /opt/env/bin/python -m pip install --no-cache-dir -c constraints.txt setuptools
# PyTorch alone from its own index: what it needs comes with the rest, at the versions of
# constraints.txt. It says itself what it was built for, before anything large follows it.
RUN /opt/env/bin/python -m pip install --no-cache-dir --no-deps -c constraints.txt \
        ${TORCH_INDEX:+--index-url="${TORCH_INDEX}"} torch \
    && cuda=$(/opt/env/bin/python -c 'import glob, runpy; \
print(runpy.run_path(glob.glob("/opt/env/lib/*/site-packages/torch/version.py")[0])["cuda"])') \
    && case "${VARIANT}:${cuda}" in \
        cpu:None) ;; \
        gpu:None) echo "VARIANT=gpu needs a PyTorch with CUDA: set TORCH_INDEX" >&2; exit 1 ;; \
        gpu:*) ;; \
        cpu:*) echo "this PyTorch is for CUDA ${cuda}: set TORCH_INDEX, or VARIANT=gpu" >&2; exit 1 ;; \
        *) echo "VARIANT must be cpu or gpu, found ${VARIANT}" >&2; exit 1 ;; \
    esac
# Packages before sources: they change seldom and are most of the image.
COPY pyproject.toml README.md LICENSE ./
COPY rllib_tactical/__init__.py rllib_tactical/
RUN /opt/env/bin/python -m pip install --no-cache-dir -c constraints.txt --no-build-isolation \
        -e ".[notify,redis,registry,serve,train]" \
    && /opt/env/bin/python -m pip check

# hadolint ignore=DL3006
FROM ${PYTHON}
# wget: the health check below and Kubernetes' ask through it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray \
    && install --directory --owner=ray /state

COPY --from=packages /opt/env /opt/env
COPY --from=packages /app /app
WORKDIR /app
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
