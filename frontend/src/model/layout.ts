// Which cells of a scrolled grid are visible, and which pages of images they need.

export interface Cells {
  readonly columns: number;
  readonly rows: number;
  readonly height: number;
  readonly first: number;
  readonly last: number;
}

/** Cells of a grid of `total` images; `first` to `last` (exclusive) are visible, with a margin of one screen. */
export function visibleCells(total: number, cell: number, width: number, height: number, scrollTop: number): Cells {
  const columns = Math.max(1, Math.floor(width / cell));
  const rows = Math.ceil(total / columns);
  const firstRow = Math.max(0, Math.floor((scrollTop - height) / cell));
  const lastRow = Math.min(rows, Math.ceil((scrollTop + 2 * height) / cell));
  return {
    columns,
    rows,
    height: rows * cell,
    first: Math.min(total, firstRow * columns),
    last: Math.min(total, lastRow * columns),
  };
}

/** Offsets of the pages that hold the cells from `first` to `last` (exclusive). */
export function pagesOf(first: number, last: number, pageSize: number): number[] {
  const pages = [];
  for (let page = Math.floor(first / pageSize); page * pageSize < last; page++) pages.push(page * pageSize);
  return pages;
}

/** Scroll position at which the row of `index` is visible; unchanged if it is already. */
export function scrollToShow(index: number, columns: number, cell: number, height: number, scrollTop: number): number {
  const top = Math.floor(index / columns) * cell;
  if (top < scrollTop) return top;
  if (top + cell > scrollTop + height) return top + cell - height;
  return scrollTop;
}

/** Indices of the cells that a rectangle touches; coordinates are relative to the content. */
export function cellsInside(
  rectangle: { left: number; top: number; right: number; bottom: number },
  columns: number,
  cell: number,
  total: number,
): number[] {
  const inside = [];
  const [firstColumn, lastColumn] = [Math.floor(rectangle.left / cell), Math.floor(rectangle.right / cell)];
  const [firstRow, lastRow] = [Math.floor(rectangle.top / cell), Math.floor(rectangle.bottom / cell)];
  for (let row = Math.max(0, firstRow); row <= lastRow; row++) {
    for (let column = Math.max(0, firstColumn); column <= Math.min(columns - 1, lastColumn); column++) {
      const index = row * columns + column;
      if (index < total) inside.push(index);
    }
  }
  return inside;
}
