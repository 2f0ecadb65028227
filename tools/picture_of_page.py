"""A server's address -> docs/page.png: the page with a question, and why its first hit is there.

    make demo
    .venv/bin/spladev3-anserini serve --index demo/index --index demo/bm25
    .venv/bin/python tools/picture_of_page.py http://127.0.0.1:8080 docs/page.png   # meanwhile

It needs the extra [test] and Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import expect, sync_playwright

QUESTION = "find the IP address behind a host name"


def main(address: str, output: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"),
                                             args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 860}, device_scale_factor=1.5,
                                reduced_motion="reduce")
        page.goto(f"{address}/?{urlencode({'q': QUESTION})}")
        page.get_by_role("checkbox", name="phone").uncheck()
        expect(page.get_by_role("status")).to_contain_text("moved")
        page.get_by_role("button", name="Why this score").first.click()
        expect(page.locator("tfoot")).to_be_visible()
        page.mouse.move(0, 0)
        picture = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    # 64 colours are enough for type and bars, and a third of the size
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
