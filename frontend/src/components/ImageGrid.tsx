import { Box, Typography } from "@mui/material";
import React from "react";

import type { Image } from "../model/api";
import { cellsInside, pagesOf, scrollToShow, visibleCells } from "../model/layout";
import { add, extendTo, isSelected, toggle, type Selection } from "../model/selection";
import { PAGE_SIZE, type Images } from "../model/useImages";
import { Thumb } from "./Thumb";
import { useSize } from "./useSize";

interface Props {
  images: Images;
  cell: number;
  captions: boolean;
  /** Whether captions name the cluster of each image. */
  withClusters: boolean;
  /** Images farther from the center are marked; null: none. */
  outlierFrom: number | null;
  selection: Selection;
  onSelect(selection: Selection): void;
  onColumns(columns: number, rowsAPage: number): void;
  onOpen(image: Image): void;
}

interface Rectangle {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** Scrolling grid that draws only visible images. Click, Shift+click and dragging select. */
export function ImageGrid({ images, cell, captions, withClusters, outlierFrom, selection, onSelect, onColumns, onOpen }: Props) {
  const frame = React.useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const [scrollTop, setScrollTop] = React.useState(0);
  const cells = visibleCells(images.total, cell, width, height, scrollTop);
  const { columns, first, last } = cells;
  const rectangle = useRectangle(frame, (drawn) => {
    const ids = cellsInside(drawn, columns, cell, images.total).flatMap((index) => images.at(index)?.id ?? []);
    onSelect(add(selection, ids));
  });

  React.useEffect(() => images.need(pagesOf(first, last, PAGE_SIZE)), [images, first, last]);
  React.useEffect(() => onColumns(columns, Math.max(1, Math.floor(height / cell))), [onColumns, columns, height, cell]);
  React.useEffect(() => {
    const element = frame.current;
    if (element && height > 0) {
      element.scrollTop = scrollToShow(selection.focus, columns, cell, height, element.scrollTop);
    }
  }, [selection.focus, columns, cell, height]);

  const click = (event: React.MouseEvent, image: Image, index: number): void => {
    if (event.shiftKey) onSelect(extendTo(selection, index, (at) => images.at(at)?.id));
    else onSelect(toggle(selection, image.id, index));
  };

  return (
    <Box
      ref={frame}
      data-cy="dc-images"
      onScroll={(event) => setScrollTop(event.currentTarget.scrollTop)}
      onMouseDown={rectangle.start}
      sx={{ flex: 1, minHeight: 120, overflowY: "auto", position: "relative", userSelect: "none" }}
    >
      <div style={{ height: cells.height, position: "relative" }}>
        {Array.from({ length: last - first }, (_, at) => first + at).map((index) => (
          <Cell
            key={index}
            image={images.at(index)}
            left={(index % columns) * cell}
            top={Math.floor(index / columns) * cell}
            cell={cell}
            captions={captions}
            withClusters={withClusters}
            outlier={isOutlier(images.at(index), outlierFrom)}
            focused={index === selection.focus}
            selected={isSelected(selection, images.at(index)?.id ?? "")}
            onClick={(event, image) => click(event, image, index)}
            onOpen={onOpen}
          />
        ))}
        {rectangle.drawn && (
          <Box
            sx={{ position: "absolute", border: "1px solid", borderColor: "primary.main", bgcolor: "action.selected", pointerEvents: "none" }}
            style={{
              left: rectangle.drawn.left,
              top: rectangle.drawn.top,
              width: rectangle.drawn.right - rectangle.drawn.left,
              height: rectangle.drawn.bottom - rectangle.drawn.top,
            }}
          />
        )}
      </div>
    </Box>
  );
}

function isOutlier(image: Image | undefined, from: number | null): boolean {
  return from !== null && image !== undefined && image.distance !== null && image.distance > from;
}

interface CellProps {
  image: Image | undefined;
  left: number;
  top: number;
  cell: number;
  captions: boolean;
  withClusters: boolean;
  outlier: boolean;
  focused: boolean;
  selected: boolean;
  onClick(event: React.MouseEvent, image: Image): void;
  onOpen(image: Image): void;
}

function Cell({ image, left, top, cell, captions, withClusters, outlier, focused, selected, onClick, onOpen }: CellProps) {
  const caption = captions ? 16 : 0;
  return (
    <Box
      data-cy={image ? `dc-image-${image.id}` : "dc-image-loading"}
      data-selected={selected && image !== undefined}
      data-focused={focused}
      title={image && describe(image) + (outlier ? "\noutlier: far from the center" : "")}
      onClick={(event) => image && onClick(event, image)}
      onDoubleClick={() => image && onOpen(image)}
      style={{ position: "absolute", left, top, width: cell - 4, height: cell - 4 }}
      sx={{
        border: "3px solid",
        borderColor: selected && image ? "primary.main" : "transparent",
        outline: focused ? "2px dashed" : "none",
        outlineOffset: "-2px", // the grid would cut off what is outside
        outlineColor: "text.secondary",
        cursor: "pointer",
        boxSizing: "border-box",
        bgcolor: image ? "transparent" : "action.hover",
        opacity: selected && image ? 0.85 : 1,
      }}
    >
      {image && <Thumb picture={image} size={cell - 10 - caption} />}
      {outlier && (
        <Box
          data-cy="dc-outlier"
          sx={{ position: "absolute", top: 0, right: 0, borderTop: "12px solid", borderTopColor: "warning.main", borderLeft: "12px solid transparent" }}
        />
      )}
      {image && captions && (
        <Typography variant="caption" noWrap component="div" sx={{ lineHeight: "16px", fontSize: 11 }}>
          {[withClusters ? image.cluster : null, image.label, image.confidence?.toFixed(2)].filter(Boolean).join(" · ")}
        </Typography>
      )}
    </Box>
  );
}

/** Text of the tooltip. */
function describe(image: Image): string {
  const facts = [
    image.path.split(/[\\/]/).pop(),
    image.cluster,
    image.label === null ? null : `label ${image.label}`,
    image.confidence === null ? null : `confidence ${image.confidence.toFixed(3)}`,
    image.distance === null ? null : `distance ${image.distance.toFixed(3)}`,
    image.changes === null ? null : `changed cluster ${image.changes} times`,
  ];
  return facts.filter(Boolean).join("\n");
}

const DRAG = 8; // pixels that distinguish a drag from a click

/** A rectangle drawn with the mouse, in coordinates of the scrolled content. */
function useRectangle(
  frame: React.RefObject<HTMLDivElement>,
  onDrawn: (rectangle: Rectangle) => void,
): { drawn: Rectangle | null; start(event: React.MouseEvent): void } {
  const [drawn, setDrawn] = React.useState<Rectangle | null>(null);
  const finish = React.useRef(onDrawn);
  finish.current = onDrawn;
  const start = (event: React.MouseEvent): void => {
    const element = frame.current;
    if (!element || event.button !== 0 || event.shiftKey) return;
    const at = (event: { clientX: number; clientY: number }): [number, number] => {
      const box = element.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top + element.scrollTop];
    };
    const [x, y] = at(event);
    let last: Rectangle | null = null;
    const move = (event: MouseEvent): void => {
      const [right, bottom] = at(event);
      if (last === null && Math.hypot(right - x, bottom - y) < DRAG) return;
      last = { left: Math.min(x, right), top: Math.min(y, bottom), right: Math.max(x, right), bottom: Math.max(y, bottom) };
      setDrawn(last);
    };
    const up = (): void => {
      window.removeEventListener("mousemove", move);
      window.removeEventListener("mouseup", up);
      setDrawn(null);
      if (last === null) return;
      // the click that ends the drag must not toggle an image
      window.addEventListener("click", swallow, { capture: true, once: true });
      window.setTimeout(() => window.removeEventListener("click", swallow, { capture: true }), 0);
      finish.current(last);
    };
    window.addEventListener("mousemove", move);
    window.addEventListener("mouseup", up);
  };
  return { drawn, start };
}

function swallow(event: Event): void {
  event.stopPropagation();
}
