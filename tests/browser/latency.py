"""From key press to redrawn figures, measured inside the page.

The clock starts when the page sees the key (capture phase, before any widget does) and stops when
the frame that shows all redrawn figures has been produced: a task that is queued in
requestAnimationFrame runs after that frame's style, layout and paint.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from tests.browser.driver import PATIENCE, Watched

#: what tells that all figures of a turn are drawn
_VIEW = """() => {
  const view = document.querySelector('.tinykit-view');
  new MutationObserver(() => window.__redrawn()).observe(
    view, {attributes: true, attributeFilter: ['data-turn']});
}"""
# Plotly's figure widgets tell one by one, and not at all when nothing changed: the last one counts.
_PLOTLY = """() => {
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    plot.on('plotly_afterplot', () => window.__redrawn(true));
  }
}"""
_CLOCK = """() => {
  window.__times = [];
  let start = null;
  document.addEventListener('keydown', () => { start = performance.now(); }, true);
  let presses = 0;
  document.addEventListener('keydown', () => { presses += 1; }, true);
  window.__redrawn = (more) => {
    if (start === null) return;
    const began = start, press = presses - 1;
    if (!more) start = null;
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => { window.__times[press] = performance.now() - began; };
      after.port2.postMessage(0);
    });
  };
}"""


@dataclass(frozen=True)
class Latency:
    """Milliseconds from key press to redrawn figures, sorted."""

    times: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    @property
    def p95(self) -> float:
        """Nearest-rank 95th percentile."""
        return self.times[-(-95 * len(self.times) // 100) - 1]


def measure(
    seen: Watched,
    *,
    presses: int = 80,
    warm_up: int = 15,
    peer: bool = False,
    pause: float = 0.15,
    slider: int = 0,
) -> Latency:
    """Turn a slider of an opened app, the first, back and forth by arrow keys.

    Parameters
    ----------
    slider : its number from 0, another than the first
    presses, warm_up : how many key presses count, and how many come before
    peer : the app is made of Plotly's figure widgets
    pause : seconds between an answer and the next press
    """
    page = seen.page
    page.evaluate(_CLOCK)
    page.evaluate(_PLOTLY if peer else _VIEW)
    handle = page.locator(".noUi-handle").nth(slider)
    handle.focus()
    last = int(float(handle.get_attribute("aria-valuemax") or 0))
    at, step = int(float(handle.get_attribute("aria-valuenow") or 0)), -1
    for press in range(warm_up + presses):
        if not 0 <= at + step <= last:
            step = -step
        page.keyboard.press("ArrowRight" if step > 0 else "ArrowLeft")
        at += step
        page.wait_for_function(
            "count => window.__times.length > count", arg=press, polling=20, timeout=PATIENCE
        )
        time.sleep(0.5 if peer else pause)
    return Latency(tuple(sorted(page.evaluate("window.__times")[warm_up:])))
