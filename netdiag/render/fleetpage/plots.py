"""Numbers over nights as small drawings. Nothing can fail."""

from collections.abc import Sequence

from netdiag.render.fleetpage.style import text

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420.0, 170.0, 36.0, 26.0, 14.0, 14.0


def _step(highest: int) -> int:
    """Between lines of the grid: 1, 2 or 5 times a power of ten, for at most four of them."""
    step = 1
    while highest / step > 4:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def curves(label: str, nights: Sequence[str], lines: Sequence[tuple[str, Sequence[int]]]) -> str:
    """One drawing with one or more curves: (class, a value for each night)."""
    highest = max((value for _, values in lines for value in values), default=0) or 1
    step = _step(highest)
    top = -(-highest // step) * step
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - TOP

    def spot(at: int, value: int) -> tuple[float, float]:
        x = LEFT + (wide * at / (len(nights) - 1) if len(nights) > 1 else wide / 2)
        return x, TOP + high * (1 - value / top)

    drawn = [f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{text(label)}">']
    for value in range(0, top + 1, step):
        y = spot(0, value)[1]
        drawn.append(f'<line class="grid" x1="{LEFT:.0f}" x2="{WIDTH - RIGHT:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="soft" x="{LEFT - 7:.0f}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for kind, values in lines:
        points = [spot(at, value) for at, value in enumerate(values)]
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            drawn.append(f'<polyline class="curve {kind}" points="{path}"/>')
        drawn += [
            f'<circle class="end {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if at == len(points) - 1 else 2.2}">'
            f"<title>{text(nights[at])}: {values[at]} {kind}</title></circle>"
            for at, (x, y) in enumerate(points)
        ]
    for at, where in ((0, "start"), (len(nights) - 1, "end")) if len(nights) > 1 else ((0, "middle"),):
        x = spot(at, 0)[0]
        drawn.append(
            f'<text class="soft" x="{x:.1f}" y="{HEIGHT - 8:.0f}" text-anchor="{where}">{text(nights[at])}</text>'
        )
    return "\n".join((*drawn, "</svg>"))
