import { Box, Typography, useTheme } from "@mui/material";
import React from "react";

interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [280, 150, 40, 18];

/** Lines over rounds, drawn as SVG; values that are missing interrupt a line. */
export function LineChart({ title, unit, lines }: { title: string; unit: string; lines: readonly Line[] }) {
  const { palette } = useTheme();
  const colors = [palette.primary.main, palette.info.main, palette.success.main, palette.warning.main, palette.error.main];
  const values = lines.flatMap((line) => line.values.filter((value): value is number => value !== null));
  if (values.length === 0) return null;
  const [low, high] = range(values);
  const rounds = Math.max(...lines.map((line) => line.values.length));
  const x = (round: number): number => LEFT + ((WIDTH - LEFT - 6) * round) / Math.max(1, rounds - 1);
  const y = (value: number): number => 6 + ((HEIGHT - BOTTOM - 6) * (high - value)) / (high - low);
  return (
    <Box>
      <Typography variant="subtitle2">
        {title}
        {unit ? ` (${unit})` : ""}
      </Typography>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" role="img" aria-label={title}>
        {[low, (low + high) / 2, high].map((tick) => (
          <g key={tick}>
            <line x1={LEFT} x2={WIDTH - 6} y1={y(tick)} y2={y(tick)} stroke={palette.divider} />
            <text x={LEFT - 4} y={y(tick) + 3} textAnchor="end" fontSize="9" fill={palette.text.secondary}>
              {short(tick)}
            </text>
          </g>
        ))}
        {[0, rounds - 1].map((round) => (
          <text key={round} x={x(round)} y={HEIGHT - 5} textAnchor="middle" fontSize="9" fill={palette.text.secondary}>
            {round + 1}
          </text>
        ))}
        {lines.map((line, at) => (
          <path key={line.name} d={pathOf(line.values, x, y)} fill="none" stroke={colors[at % colors.length]} strokeWidth="1.5" strokeLinecap="round" />
        ))}
      </svg>
      {lines.length > 1 && (
        <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1 }}>
          {lines.map((line, at) => (
            <Typography key={line.name} variant="caption" style={{ color: colors[at % colors.length] }}>
              {line.name}
            </Typography>
          ))}
        </Box>
      )}
    </Box>
  );
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

function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000 || (size > 0 && size < 0.01)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}
