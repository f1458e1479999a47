// Layout of the diagram that shows where the images of a cluster were in every round.
import type { Flow } from "./api";

/** Number of the group of all images that are in none of the largest clusters of a round. */
export const OTHERS = -1;

export interface Block {
  readonly number: number;
  readonly size: number;
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

export interface Ribbon {
  readonly size: number;
  /** Upper ends and height of the ribbon on both sides. */
  readonly x0: number;
  readonly y0: number;
  readonly x1: number;
  readonly y1: number;
  readonly height: number;
}

export interface Drawing {
  readonly blocks: readonly Block[];
  readonly ribbons: readonly Ribbon[];
}

/** Blocks of `bar` pixels width, one column a round, and ribbons between them; heights are numbers of images. */
export function drawFlow(flow: Flow, width: number, height: number, bar: number, gap: number): Drawing {
  const most = Math.max(1, ...flow.groups.map((groups) => groups.length));
  const scale = (height - gap * (most - 1)) / Math.max(1, flow.n_images);
  const x = (column: number): number => ((width - bar) * column) / Math.max(1, flow.rounds.length - 1);
  const columns = flow.groups.map((groups, column) => {
    let y = 0;
    return groups.map(([number, size]) => {
      const block = { number, size, x: x(column), y, height: size * scale };
      y += block.height + gap;
      return block;
    });
  });
  const ribbons = flow.links.flatMap((links, column) => {
    const [left, right] = [columns[column] ?? [], columns[column + 1] ?? []];
    const [used, filled] = [new Map<number, number>(), new Map<number, number>()];
    // in the order of the blocks on both sides, so that ribbons cross as little as they can
    const rank = (blocks: readonly Block[], number: number): number => blocks.findIndex((block) => block.number === number);
    const sorted = [...links].sort((a, b) => rank(left, a[0]) - rank(left, b[0]) || rank(right, a[1]) - rank(right, b[1]));
    return sorted.flatMap(([from, to, size]) => {
      const [start, end] = [left[rank(left, from)], right[rank(right, to)]];
      if (!start || !end) return [];
      const ribbon = {
        size,
        x0: start.x + bar,
        y0: start.y + (used.get(from) ?? 0),
        x1: end.x,
        y1: end.y + (filled.get(to) ?? 0),
        height: size * scale,
      };
      used.set(from, (used.get(from) ?? 0) + ribbon.height);
      filled.set(to, (filled.get(to) ?? 0) + ribbon.height);
      return [ribbon];
    });
  });
  return { blocks: columns.flat(), ribbons };
}

/** SVG path of a ribbon. */
export function ribbonPath({ x0, y0, x1, y1, height }: Ribbon): string {
  const middle = (x0 + x1) / 2;
  const n = (value: number): string => value.toFixed(1);
  return (
    `M${n(x0)} ${n(y0)}C${n(middle)} ${n(y0)} ${n(middle)} ${n(y1)} ${n(x1)} ${n(y1)}` +
    `L${n(x1)} ${n(y1 + height)}C${n(middle)} ${n(y1 + height)} ${n(middle)} ${n(y0 + height)} ${n(x0)} ${n(y0 + height)}Z`
  );
}
