#!/bin/sh
# Finds Chromium, or installs Debian's package (with a CJK font) where that is possible. Never fails:
# without a browser the browser tests say that they were skipped, and CI refuses the skip.
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "installing chromium for the browser tests" >&2
  apt-get update -qq >/dev/null 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-wqy-microhei >/dev/null 2>&1
fi
exit 0
