"""The paper session and the picture with which the demo ends, on a service without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli import demo_page
from rllib_tactical.data.dataset import DataSource, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.sizing import WarmUpBars
from serve.dashboard.picture import find_browser
from tests.serve.conftest import bundle, walk  # noqa: F401
from tests.serve.dashboard.scene import READS, dated, served

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("token", [None, READS])
def test_the_page_is_left_as_a_picture_after_bars_on_paper(
    bundle: Bundle,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
) -> None:
    monkeypatch.setattr(demo_page, "SHOWN_BARS", 60)
    path = tmp_path / "bars.parquet"
    write_bars(dated(walk(500, seed=7)), path)
    source = DataSource(path, bundle.instrument)
    history = load_dataset(source, 300).sized(WarmUpBars()).history
    said: list[str] = []
    open_to_all: dict[str, Any] = {"token_digest": None, "admin_digest": None}
    with served(bundle, tmp_path, 0, **({} if token else open_to_all)) as scene:
        demo_page.show_page(scene.url, token, bundle, source, history, tmp_path, said.append)
        market = scene.cluster.machine().of().market()
    assert market.last_s == history.bars.timestamp_s[-1]
    picture = tmp_path / demo_page.PICTURE
    if token is not None or find_browser() is None:
        assert not picture.exists()
        assert said[0].startswith("no picture of the operator's page: ")
        return
    assert said == [f"the operator's page, after 60 bars on paper: {picture}"]
    with Image.open(picture) as image:
        colors = image.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert len(colors) > 100, "the picture is empty"
