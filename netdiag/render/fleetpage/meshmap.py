"""The mesh as a drawing: regions in a ring, their hosts as dots, what is sick as lines. Nothing can fail."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

from netdiag.model.fleetmesh import Mesh
from netdiag.render.escape import cut, visible
from netdiag.render.fleetpage.style import anchor, text

WIDTH, HEIGHT = 760.0, 520.0
GOLDEN = math.pi * (3 - math.sqrt(5))
Point = tuple[float, float]


def _radius(hosts: int, regions: int) -> float:
    """Of a region: grows with the root of its hosts, bounded by the room that the ring leaves."""
    room = 150.0 if regions == 1 else min(92.0, 480.0 * math.sin(math.pi / max(regions, 2)) * 0.42)
    return max(20.0, min(room, 10.0 + 9.0 * math.sqrt(hosts)))


def _centres(count: int, largest: float) -> list[Point]:
    """Middles of the regions, in a ring that leaves room for the largest and for the names outside."""
    if count == 1:
        return [(WIDTH / 2, HEIGHT / 2 - 10)]
    wide, high = min(265.0, WIDTH / 2 - largest - 105), min(200.0, HEIGHT / 2 - largest - 30)
    turn = 0.0 if count == 2 else -math.pi / 2
    angles = [turn + 2 * math.pi * at / count for at in range(count)]
    return [(WIDTH / 2 + wide * math.cos(angle), HEIGHT / 2 + high * math.sin(angle)) for angle in angles]


def _label(centre: Point, radius: float) -> tuple[Point, str]:
    """Where the name of a region stands, away from the middle, where no line goes; and which end of it."""
    x, y = centre[0] - WIDTH / 2, centre[1] - HEIGHT / 2
    far = math.hypot(x, y) or 1.0
    if abs(x) / far < 0.35:
        return (centre[0], centre[1] + (-(radius + 12) if y < 0 and far > 20 else radius + 20)), "middle"
    side = 1 if x > 0 else -1
    return (centre[0] + side * (radius + 9), centre[1] + 4.5 + y / far * 6), "start" if side > 0 else "end"


def _dots(centre: Point, radius: float, count: int) -> list[Point]:
    """Places of the hosts of a region, spread evenly over its disc."""
    if count == 1:
        return [centre]
    step = (radius - 7) / math.sqrt(count)
    return [
        (
            centre[0] + step * math.sqrt(at + 0.5) * math.cos(at * GOLDEN),
            centre[1] + step * math.sqrt(at + 0.5) * math.sin(at * GOLDEN),
        )
        for at in range(count)
    ]


def mesh_svg(mesh: Mesh, worst: Mapping[str, str]) -> str:
    """The drawing. ``worst``: host to ``critical`` or ``warning``, for those that have such a finding."""
    by_region: dict[str, list[str]] = defaultdict(list)
    for row in mesh.hosts:
        by_region[row.region].append(row.name)
    names = sorted(by_region)
    radii = {name: _radius(len(by_region[name]), len(names)) for name in names}
    centres = dict(zip(names, _centres(len(names), max(radii.values(), default=0.0)), strict=True))
    places = {
        host: spot
        for name in names
        for host, spot in zip(by_region[name], _dots(centres[name], radii[name], len(by_region[name])), strict=True)
    }
    region = {row.name: row.region for row in mesh.hosts}
    sizes = {name: max(1.6, min(5.0, radii[name] / (1.6 * math.sqrt(len(by_region[name]))))) for name in names}
    sick = sum(link.sick for link in mesh.links)
    label = f"{len(mesh.hosts)} hosts in {len(names)} regions, {sick} sick pairs"
    lines = [f'<svg class="map" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{text(label)}">']
    lines += _ways(mesh, centres)
    lines += [
        f'<circle class="region" cx="{x:.1f}" cy="{y:.1f}" r="{radii[name]:.1f}"/>' for name, (x, y) in centres.items()
    ]
    for one, two in mesh.sick:
        if one in places and two in places:
            (x1, y1), (x2, y2) = places[one], places[two]
            lines.append(f'<line class="pair" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    for host, (x, y) in places.items():
        size = sizes[region[host]]
        lines.append(
            f'<a href="#{anchor(host)}"><circle class="dot {worst.get(host, "")}" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{size:.1f}"><title>{text(host)}</title></circle></a>'
        )
    for name, centre in centres.items():
        (x, y), end = _label(centre, radii[name])
        said = _name(name, len(by_region[name]))
        lines.append(f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{end}">{said}</text>')
    lines += _plates(mesh, centres, radii)
    return "\n".join((*lines, "</svg>"))


def _name(region: str, hosts: int) -> str:
    return f"{text(cut(visible(region) or 'no region', 16))} ({hosts})"


def _ways(mesh: Mesh, centres: Mapping[str, Point]) -> Iterator[str]:
    for link in mesh.links:
        if link.one == link.two or link.one not in centres or link.two not in centres:
            continue
        (x1, y1), (x2, y2) = centres[link.one], centres[link.two]
        width = min(6.0, 1.0 + math.log10(1 + link.pairs))
        ill = " sick" if link.sick == link.pairs else ""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        yield f'<line class="way{ill}" stroke-width="{width:.1f}" {ends}/>'


def _plates(mesh: Mesh, centres: Mapping[str, Point], radii: Mapping[str, float]) -> Iterator[str]:
    """``3/25`` on the way between two regions, above all lines: the sickest first, and none over another or over a
    region. What finds no room is in the words below the drawing."""
    placed: list[tuple[float, float, float]] = []
    for link in sorted(mesh.links, key=lambda link: (-link.sick / link.pairs, -link.sick, link.one, link.two)):
        if not link.sick or link.one == link.two or link.one not in centres or link.two not in centres:
            continue
        (x1, y1), (x2, y2) = centres[link.one], centres[link.two]
        words = f"{link.sick}/{link.pairs}"
        half = 5 + 4.2 * len(words)
        for part in (0.5, 0.42, 0.58, 0.34, 0.66):
            x, y = x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
            crowded = any(abs(x - at[0]) < half + at[2] + 2 and abs(y - at[1]) < 25 for at in placed)
            over = any(math.hypot(x - cx, y - cy) < radii[name] + 12 for name, (cx, cy) in centres.items())
            if crowded or over:
                continue
            placed.append((x, y, half))
            yield (
                f'<rect class="plate" x="{x - half:.1f}" y="{y - 11:.1f}" width="{2 * half:.1f}" height="22" rx="11"/>'
                f'<text class="sick" x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="middle">{words}'
                f"<title>{text(link.one)} and {text(link.two)}: {link.sick} of {link.pairs} pairs sick</title></text>"
            )
            break
