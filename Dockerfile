# The operator's image: one virtual environment on a slim Python. `tools/image` builds it with docker, podman or buildah;
# `docker buildx build --platform linux/amd64,linux/arm64` builds it for both, because every package has wheels for them.
ARG PYTHON=docker.io/library/python:3.13-slim

FROM ${PYTHON} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv --without-pip /opt/build && python3 -m venv --without-pip /opt/venv
# The secrets, if given, are the builder's own pip settings and certificates. They exist only during this step.
COPY requirements/image.lock requirements/build.lock requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.crt \
    python3 -m pip --python /opt/build/bin/python3 install --require-hashes -r requirements/build.lock \
    && python3 -m pip --python /opt/venv/bin/python3 install --require-hashes -r requirements/image.lock
COPY pyproject.toml README.md LICENSE ./
COPY static_route_operator/ static_route_operator/
# Python does not compare the compiled files with the times of their sources, because a copy may change these times.
RUN python3 -m pip --python /opt/build/bin/python3 wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && python3 -m pip --python /opt/venv/bin/python3 install --no-deps --no-index dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/venv

FROM ${PYTHON}
# Remove installers and setuid bits. Compile Python's own library, because a read-only root can't store the compiled files
# and compiling would take seconds at every start.
RUN stdlib=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') \
    && for each in $(python3 -c 'import importlib.util as u; \
        print(*(p for n in ("pip", "wheel") if (s := u.find_spec(n)) for p in s.submodule_search_locations))'); \
        do rm -rf "$each"*; done \
    && rm -rf "$stdlib/ensurepip" /usr/local/bin/pip* /usr/bin/pip* \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} + \
    && python3 -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|idlelib)/' "$stdlib"
COPY --from=builder /opt/venv /opt/venv
# USER names the user, because a user id may have no entry in /etc/passwd.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=root
LABEL org.opencontainers.image.title="static-route-operator" \
      org.opencontainers.image.description="Puts static routes into every node's kernel and keeps them there" \
      org.opencontainers.image.licenses="Apache-2.0"
# Root, with only the capabilities that the pod adds: at exec, the kernel takes them from any other user.
ENTRYPOINT ["static-route-operator"]
CMD ["agent"]
