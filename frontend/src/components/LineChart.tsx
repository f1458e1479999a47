import { Box, Typography, useTheme, type Palette } from "@mui/material";
import React from "react";

interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [280, 162, 40, 30];

interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line[];
  /** Position of every value, ascending; without them values are rounds from 1. */
  readonly positions?: readonly number[];
  /** What the positions are, written below them. */
  readonly axis?: string;
  /** Position of a vertical line. */
  readonly marked?: number;
  /** Positions between which the background is shaded. */
  readonly band?: readonly [number, number];
  /** A value with a horizontal line, and what it means. */
  readonly limit?: readonly [number, string];
}

/** Lines over rounds, or over other positions, drawn as SVG; values that are missing interrupt a line. */
export function LineChart({ title, unit, lines, positions, axis = "round", marked, band, limit }: Chart) {
  const { palette } = useTheme();
  const colors = colorsOf(palette);
  const values = lines.flatMap((line) => line.values.filter((value): value is number => value !== null));
  if (values.length === 0) return null;
  const [low, high] = range(limit ? [...values, limit[0]] : values);
  const at = positions ?? Array.from({ length: Math.max(...lines.map((line) => line.values.length)) }, (_, round) => round + 1);
  const [first, last] = [at[0] ?? 1, at[at.length - 1] ?? 1];
  const across = (position: number): number => LEFT + ((WIDTH - LEFT - 6) * (position - first)) / Math.max(1, last - first);
  const x = (index: number): number => across(at[index] ?? first);
  const y = (value: number): number => 6 + ((HEIGHT - BOTTOM - 6) * (high - value)) / (high - low);
  return (
    <Box>
      <Typography variant="subtitle2">
        {title}
        {unit ? ` (${unit})` : ""}
      </Typography>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" role="img" aria-label={title}>
        {band && (
          <rect x={across(band[0]) - 2} width={across(band[1]) - across(band[0]) + 4} y={6} height={HEIGHT - BOTTOM - 6} fill={palette.action.selected} data-cy="dc-chart-band" />
        )}
        {marked !== undefined && (
          <line x1={across(marked)} x2={across(marked)} y1={6} y2={HEIGHT - BOTTOM} stroke={palette.text.primary} strokeDasharray="3 2" data-cy="dc-chart-mark" />
        )}
        {[low, (low + high) / 2, high].map((tick) => (
          <g key={tick}>
            <line x1={LEFT} x2={WIDTH - 6} y1={y(tick)} y2={y(tick)} stroke={palette.divider} />
            <text x={LEFT - 4} y={y(tick) + 3} textAnchor="end" fontSize="9" fill={palette.text.secondary}>
              {short(tick)}
            </text>
          </g>
        ))}
        {labeled(first, last, marked).map((position) => (
          <text key={position} x={across(position)} y={HEIGHT - 17} textAnchor="middle" fontSize="9" fill={palette.text.secondary}>
            {position}
          </text>
        ))}
        <text x={(LEFT + WIDTH - 6) / 2} y={HEIGHT - 4} textAnchor="middle" fontSize="9" fill={palette.text.secondary} data-cy="dc-chart-axis">
          {axis}
        </text>
        {limit && (
          <g data-cy="dc-chart-limit">
            <line x1={LEFT} x2={WIDTH - 6} y1={y(limit[0])} y2={y(limit[0])} stroke={palette.text.secondary} strokeDasharray="1 3" />
            <text x={WIDTH - 6} y={y(limit[0]) - 3} textAnchor="end" fontSize="9" fill={palette.text.secondary}>
              {limit[1]}
            </text>
          </g>
        )}
        {lines.map((line, index) => (
          <path key={line.name} d={pathOf(line.values, x, y)} fill="none" stroke={colors[index % colors.length]} strokeWidth={widthOf(line.values)} strokeLinecap="round" />
        ))}
      </svg>
      {lines.length > 1 && (
        <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1 }}>
          {lines.map((line, index) => (
            <Typography key={line.name} variant="caption" style={{ color: colors[index % colors.length] }}>
              {line.name}
            </Typography>
          ))}
        </Box>
      )}
    </Box>
  );
}

/** Colors of the lines; FiftyOne's `warning` is its `primary` in the light theme, and close to it in the dark one. */
export function colorsOf(palette: Palette): string[] {
  return [palette.primary.main, palette.info.main, palette.success.main, palette.text.secondary, palette.error.main];
}

/** Positions that have a number below the axis: both ends, and the marked one where it is far enough from them. */
export function labeled(first: number, last: number, marked?: number): number[] {
  const ends = first === last ? [first] : [first, last];
  const room = (last - first) / 12;
  const fits = marked !== undefined && marked - first > room && last - marked > room;
  return fits ? [...ends, marked] : ends;
}

/** Lowest and highest value, never equal. */
export function range(values: readonly number[]): [number, number] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (high > low) return [low, high];
  const margin = Math.abs(low) / 10 || 1;
  return [low - margin, high + margin];
}

/** SVG path; a missing value starts a new piece. */
export function pathOf(
  values: readonly (number | null)[],
  x: (round: number) => number,
  y: (value: number) => number,
): string {
  let pen = "M";
  const parts: string[] = [];
  values.forEach((value, round) => {
    if (value === null) pen = "M";
    else {
      parts.push(`${pen}${x(round).toFixed(1)} ${y(value).toFixed(1)}`);
      pen = "L";
    }
  });
  if (parts.length === 1) parts.push(parts.join("").replace("M", "L")); // one value: a dot
  return parts.join("");
}

/** Width of a line; a single value is drawn as a dot. */
export function widthOf(values: readonly (number | null)[]): number {
  return values.filter((value) => value !== null).length === 1 ? 6 : 1.5;
}

function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000 || (size > 0 && size < 0.01)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}
