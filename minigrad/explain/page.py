"""A walkthrough as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from minigrad.explain.drawing import drawn
from minigrad.explain.graphs import shown_values, titles

if TYPE_CHECKING:
    from minigrad.explain.walk import Visit, Walkthrough

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A backward pass, visit by visit</title>
<style>
body {{ font: 15px/1.45 sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem }}
button {{ font: inherit; padding: .2rem .8rem }}
pre {{ background: #F4F4F4; padding: .4rem .6rem; overflow-x: auto }}
.picture {{ overflow: auto; max-height: 60vh; border: 1px solid #CCC }}
th, td {{ text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0 }}
</style></head><body>
<h1>A backward pass, visit by visit</h1>
<p><button id="back">back</button> <button id="step">step</button> <button id="play">play</button>
<output id="where" aria-live="polite"></output></p>
<div class="picture">{picture}</div>
<div id="visit"></div>
<noscript><p>Without JavaScript: all visits.</p><pre>{table}</pre></noscript>
<script>
const steps = {steps};
let at = 0, timer = null;
function show() {{
  document.querySelectorAll(".visited, .here, .handed").forEach(
    e => e.classList.remove("visited", "here", "handed"));
  for (const step of steps.slice(1, at)) document.getElementById(step.box)?.classList.add("visited");
  document.getElementById(steps[at].box)?.classList.add("here");
  for (const id of steps[at].edges) document.getElementById(id)?.classList.add("handed");
  document.getElementById("visit").innerHTML = steps[at].text;
  document.getElementById("where").textContent = "visit " + at + " of " + (steps.length - 1);
  document.getElementById("back").disabled = at === 0;
  document.getElementById("step").disabled = at === steps.length - 1;
}}
function go(by) {{ at = Math.min(Math.max(at + by, 0), steps.length - 1); show(); }}
function stop() {{
  clearInterval(timer);
  timer = null;
  document.getElementById("play").textContent = "play";
}}
document.getElementById("back").onclick = () => {{ stop(); go(-1); }};
document.getElementById("step").onclick = () => {{ stop(); go(1); }};
document.getElementById("play").onclick = () => {{
  if (timer) return stop();
  if (at === steps.length - 1) at = -1;
  document.getElementById("play").textContent = "stop";
  timer = setInterval(() => {{ go(1); if (at === steps.length - 1) stop(); }}, 1200);
  go(1);
}};
document.onkeydown = event => {{
  if (event.key === "ArrowRight") {{ stop(); go(1); }}
  if (event.key === "ArrowLeft") {{ stop(); go(-1); }}
}};
show();
</script></body></html>
"""


def page_of(walk: Walkthrough) -> str:
    """The page: the picture, and below it the visit that is shown. Arrow keys step too."""
    names = titles(walk.graph)
    first = (
        "<p>No result was visited yet. The output’s cotangent is given; every other one is found. Orange is "
        "the result that is visited, green what was visited before; along the thick edges go the shares.</p>"
    )
    steps: list[dict[str, Any]] = [{"box": "", "edges": [], "text": first}]
    for visit, (box, edges) in zip(walk.visits, walk.places(), strict=True):
        steps.append({"box": box, "edges": edges, "text": _text(walk, visit, names)})
    return PAGE.format(
        picture=drawn(walk.graph),
        table=escape(walk.table()),
        steps=json.dumps(steps, ensure_ascii=False).replace("</", "<\\/"),
    )


def _text(walk: Walkthrough, visit: Visit, names: dict[Any, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(names[share.argument])}</td><td>{escape(shown_values(share.share))}</td>"
        f"<td>{escape(shown_values(share.total))}</td>"
        f"<td><pre>{escape(share.rule.text)}</pre>"
        f"<small>{escape(share.rule.place)}; {escape(walk.meaning(share))}</small></td></tr>"
        for share in visit.shares
    )
    return (
        f"<h2>{escape(names[visit.result])}</h2><p>Its cotangent g is complete: "
        f"{escape(shown_values(visit.cotangent))}.</p>"
        f"<table><tr><th>argument</th><th>its share</th><th>the sum so far</th><th>the rule</th></tr>"
        f"{rows}</table>"
    )
