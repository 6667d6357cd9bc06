/* Charts from data. Loaded with the first chart. */
import React from "react";
import {
  Area, AreaChart, Bar, BarChart, CartesianGrid, Cell, Label, Legend, Line, LineChart, Pie, PieChart,
  ResponsiveContainer, Scatter, ScatterChart, Tooltip, XAxis, YAxis,
} from "recharts";

const FRAMES = { line: LineChart, area: AreaChart, bar: BarChart, scatter: ScatterChart };
const COLOURS = 8;
const DOTS = 40; // points: beyond, dots would hide the line
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 12 });

const colour = (at) => `var(--answer-series-${(at % COLOURS) + 1})`;
const tick = (value) => {
  if (typeof value !== "number") return value;
  return Math.abs(value) >= 1e6 ? compact.format(value) : plain.format(value);
};
const yearTick = (value) => (Math.abs(value) < 10_000 ? String(value) : tick(value)); // 2020, not 2,020
const exact = (value) => (typeof value === "number" ? plain.format(value) : value);

/* `chart`: {kind, title, x, series: [{name, values}], x_title, y_title}. Its figure carries title, name and table. */
export function ChartPlot({ chart }) {
  return (
    <div className="answer-plot">
      <ResponsiveContainer width="100%" height="100%" initialDimension={{ width: 320, height: 260 }}>
        {chart.kind === "pie" ? pie(chart) : plot(chart)}
      </ResponsiveContainer>
    </div>
  );
}

const TIP = {
  isAnimationActive: false,
  formatter: exact,
  contentStyle: { background: "var(--surface, #f6f6f5)", border: "1px solid var(--border, #d9d9d6)", borderRadius: 6 },
  itemStyle: { color: "var(--text, #1c1c1a)" },
  labelStyle: { color: "var(--text, #1c1c1a)" },
};
const LEGEND = {
  itemSorter: null, // in the order of the data
  wrapperStyle: { fontSize: 12, paddingBottom: 8 },
  formatter: (name) => <span style={{ color: "var(--text, #1c1c1a)" }}>{name}</span>,
};
const AXIS = {
  stroke: "var(--muted, #63635e)", tick: { fill: "var(--muted, #63635e)", fontSize: 12 }, tickFormatter: tick,
};

function title(value, props) {
  return value ? <Label value={value} fill="var(--muted, #63635e)" fontSize={12} {...props} /> : null;
}

function plot(chart) {
  const Frame = FRAMES[chart.kind];
  const alone = chart.series.length === 1;
  const names = chart.series.map(({ name }, at) => name || (alone ? chart.y_title || "value" : `Series ${at + 1}`));
  const rows = chart.x.map((x, row) => (
    { x, ...Object.fromEntries(chart.series.map(({ values }, at) => [`y${at}`, values[row]])) }
  ));
  const numeric = chart.kind !== "bar" && chart.x.every((x) => typeof x === "number");
  const margin = { top: 8, right: 16, bottom: chart.x_title ? 20 : 4, left: 0 };
  return (
    <Frame data={rows} margin={margin} accessibilityLayer={false}>
      <CartesianGrid stroke="var(--border, #d9d9d6)" vertical={false} />
      <XAxis dataKey="x" type={numeric ? "number" : "category"} domain={numeric ? ["dataMin", "dataMax"] : undefined}
        allowDuplicatedCategory={chart.kind !== "scatter"} minTickGap={16} {...AXIS} tickFormatter={yearTick}>
        {title(chart.x_title, { position: "insideBottom", offset: -12 })}
      </XAxis>
      <YAxis width={chart.y_title ? 64 : 52} domain={domain(chart)} {...AXIS}>
        {title(chart.y_title !== chart.title && chart.y_title, { angle: -90, position: "insideLeft", offset: 6, style: { textAnchor: "middle" } })}
      </YAxis>
      <Tooltip {...TIP} labelFormatter={yearTick} />
      {!alone && <Legend verticalAlign="top" {...LEGEND} />}
      {chart.series.map((_, at) => marks(chart.kind, { key: at, dataKey: `y${at}`, name: names[at] }, at, rows.length))}
    </Frame>
  );
}

/* Bars and areas start at zero, or their sizes would lie. */
function domain({ kind, series }) {
  if (kind !== "bar" && kind !== "area") return ["auto", "auto"];
  const values = series.flatMap((one) => one.values);
  return [values.some((value) => value < 0) ? "auto" : 0, values.some((value) => value > 0) ? "auto" : 0];
}

function marks(kind, { key, ...series }, at, points) {
  const shared = { ...series, isAnimationActive: false };
  const dot = points > DOTS ? false : { r: 2.5, fill: colour(at) };
  if (kind === "bar") return <Bar key={key} {...shared} fill={colour(at)} maxBarSize={48} />;
  if (kind === "scatter") return <Scatter key={key} {...shared} fill={colour(at)} />;
  if (kind === "area") {
    return <Area key={key} {...shared} stroke={colour(at)} fill={colour(at)} fillOpacity={0.2} dot={false} />;
  }
  return <Line key={key} {...shared} stroke={colour(at)} strokeWidth={2} dot={dot} />;
}

function pie(chart) {
  const slices = chart.x.map((x, at) => ({ name: String(x), value: chart.series[0].values[at] }));
  return (
    <PieChart accessibilityLayer={false}>
      <Pie data={slices} dataKey="value" nameKey="name" outerRadius="78%" startAngle={90} endAngle={-270}
        isAnimationActive={false} stroke="var(--bg, #fff)">
        {slices.map((_, at) => <Cell key={at} fill={colour(at)} />)}
      </Pie>
      <Tooltip {...TIP} />
      <Legend {...LEGEND} />
    </PieChart>
  );
}
