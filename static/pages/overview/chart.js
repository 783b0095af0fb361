// A chart of lines over time, by uPlot, in the colours of the theme.

import { html, useEffect, useRef } from "../../ui/html.js";
import uPlot from "../../vendor/uplot.js";

const height = 220;

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("../../vendor/uplot.css", import.meta.url).href;
document.head.append(style);

// Chart draws data, [seconds, …values of each line]; span: so many seconds are shown, whatever
// there is of them, and the axis tells seconds. A change of data moves the lines, a change of theme draws anew.
export function Chart({ data, lines, label, span = 0 }) {
  const place = useRef(null);
  const plot = useRef(null);
  const newest = useRef(data);
  newest.current = data;
  useEffect(() => {
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(lines, place.current.clientWidth, span), newest.current, place.current);
    };
    const resized = new ResizeObserver(([{ contentRect }]) => {
      if (plot.current && contentRect.width && Math.abs(contentRect.width - plot.current.width) >= 1) plot.current.setSize({ width: contentRect.width, height });
    });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const theme = new MutationObserver(draw);
    draw();
    resized.observe(place.current);
    dark.addEventListener("change", draw);
    theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", draw);
      theme.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, []);
  useEffect(() => { plot.current?.setData(data); }, [data]);
  return html`<figure class="chart" aria-label=${label}><div ref=${place}></div></figure>`;
}

function options(lines, width, span) {
  const tokens = getComputedStyle(document.documentElement);
  const color = (name) => tokens.getPropertyValue(name).trim();
  const font = `12px ${color("--sans")}`;
  const axis = { stroke: color("--soft"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), size: 4 } };
  const clock = (s) => new Date(1_000 * s).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(span && { second: "2-digit" }) });
  const number = (v) => (v === null ? "–" : v.toLocaleString(undefined, { maximumFractionDigits: 1 }));
  return {
    width, height,
    padding: [8, 8, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { ...(span && { x: { range: (_, low, high) => [high - span, high] } }), y: { range: (_, low, high) => [0, Math.max(4, high * 1.1)] } },
    axes: [{ ...axis, size: 28, space: span ? 96 : 72, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 48, incrs: [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6].map((e) => n * 10 ** e)).sort((x, y) => x - y), values: (_, ticks) => ticks.map(number) }],
    series: [{ label: "Time", value: (_, s) => (s === null ? "–" : clock(s)) }, ...lines.map((line) => ({
      label: line.label, stroke: color(line.color), width: 1.75, dash: line.dash, points: { show: false }, value: (_, v) => number(v),
    }))],
  };
}
