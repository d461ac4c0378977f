# One image, two doors: without arguments the Lambda, with `component` the Greengrass component.
# docs/image.md says how to build it; docs/adr/0008 why it is as it is. It needs nothing of BuildKit.
#
# The base gives the interpreter and what builds; nothing of it but chosen files reaches the image.
ARG BASE_IMAGE=debian:trixie-slim

FROM ${BASE_IMAGE} AS build
# gcc has libc6-dev only as a recommendation; python3-venv brings a pip.
RUN apt-get update --quiet=2 \
 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
      binutils gcc libc6-dev python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
# The date of every file in the image, and the order of every set in a compiled module.
ENV SOURCE_DATE_EPOCH=1735689600 PYTHONHASHSEED=0
WORKDIR /build

# What others wrote: by hash, as binaries only, each without what it would ask for besides.
ARG ENGINE=forest
COPY container/requirements.lock container/xgboost.lock ./
RUN python3 -m venv pip \
 && locks="--requirement requirements.lock" \
 && case "${ENGINE}" in \
      forest) ;; \
      xgboost) locks="${locks} --requirement xgboost.lock" ;; \
      *) echo "ENGINE: got ${ENGINE}, expected forest or xgboost" >&2; exit 1 ;; \
    esac \
 && pip/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-compile --no-deps \
      --only-binary :all: --require-hashes --target installed ${locks}
COPY release/image/rootfs.py release/image/stdlib.py release/image/
RUN python3 -m release.image.rootfs packages /out/packages installed --engine "${ENGINE}" \
 && python3 -m release.image.rootfs system /out/system /out/packages

# What we wrote.
COPY setup.py LICENSE source/
COPY model source/model/
COPY interface source/interface/
COPY container source/container/
RUN python3 -m release.image.rootfs code /out/code source

# The model. What cannot replay its golden rows becomes no image.
FROM build AS model
COPY bundle bundle/
RUN python3 -m release.image.rootfs bundle /out/bundle bundle \
 && mkdir /test && cp -a /out/system/. /out/packages/. /out/code/. /out/bundle/. /test/ \
 && chroot --userspec=65532:65532 /test /opt/edgexgb/start --self-test

FROM scratch
COPY --from=build /out/system/ /
COPY --from=build /out/packages/ /
COPY --from=build /out/code/ /
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/opt/edgexgb/start"]
ARG ENGINE=forest
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="edgexgb" \
      org.opencontainers.image.description="XGBoost inference, as a Lambda and as a Greengrass component" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      edgexgb.engine="${ENGINE}"

# Everything above is the same for every model: a device pulls this layer for a new one. Labels are
# no layer, so those of the model change none.
COPY --from=model /out/bundle/ /
ARG MODEL_NAME=unknown
ARG MODEL_VERSION=unknown
ARG MODEL_DIGEST=unknown
LABEL edgexgb.model.name="${MODEL_NAME}" \
      edgexgb.model.version="${MODEL_VERSION}" \
      edgexgb.model.digest="${MODEL_DIGEST}"
