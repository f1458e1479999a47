import { Box, Button, MenuItem, Select, Slider, ToggleButton, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { Cluster, Image, ImageOrder } from "../model/api";
import { neighborsOf, owners } from "../model/clusters";
import type { Command } from "../model/keys";
import { add, countSelected, extendTo, isArrow, NOTHING, step, toggle, type Selection } from "../model/selection";
import { counted } from "../model/units";
import type { Board } from "../model/useBoard";
import { useImages } from "../model/useImages";
import { FlowDiagram } from "./FlowDiagram";
import { ImageGrid } from "./ImageGrid";
import { number } from "./Header";
import { Neighbors } from "./Neighbors";
import { percent } from "./Overview";
import { useKeysOfParent } from "./useKeysOfParent";

const ORDERS: Record<ImageOrder, string> = {
  nearest: "Nearest to the center",
  farthest: "Farthest from the center",
  uncertain: "Least confident",
  moved: "Most changes",
  random: "Random",
};

/** Orders that the images of a run have. */
export function imageOrders(rounds: number): ImageOrder[] {
  return (Object.keys(ORDERS) as ImageOrder[]).filter((order) => order !== "moved" || rounds > 1);
}

const BUTTONS: readonly { command: Command; text: string; title: string; needsImages?: boolean }[] = [
  { command: "move", text: "Move", title: "Move the selected images to another cluster (M)", needsImages: true },
  { command: "reject", text: "Reject", title: "Remove the selected images from their cluster (X)", needsImages: true },
  { command: "name", text: "Name", title: "Name the cluster (N)" },
  { command: "split", text: "Split", title: "Split the cluster (S)" },
  { command: "join", text: "Join", title: "Join with the nearest cluster (J)" },
  { command: "similar", text: "Similar", title: "Find images similar to the selected ones (F)", needsImages: true },
  { command: "show_in_grid", text: "Grid", title: "Show in the grid, colored by this run (G)" },
  { command: "reviewed", text: "Reviewed, next", title: "Mark as reviewed and open the next (Enter)" },
];

interface Props {
  board: Board;
  cluster: Cluster;
  selection: Selection;
  onSelect(selection: Selection): void;
  onTotal(total: number): void;
  onCommand(command: Command): void;
  onGo(name: string | null): void;
  onJoin(name: string): void;
  /** Ids: show images similar to these instead of the cluster. */
  like: readonly string[] | null;
  onLike(like: readonly string[] | null): void;
  inView: number | null;
  look: Look;
  onLook(look: Look): void;
}

/** How images are shown; the same for all clusters. */
export interface Look {
  readonly order: ImageOrder;
  readonly cell: number;
  readonly captions: boolean;
  /** What stands above the images. */
  readonly beside: "neighbors" | "history" | null;
}

export const LOOK: Look = { order: "nearest", cell: 96, captions: false, beside: null };
const N_NEIGHBORS = 5;

/** The images of one cluster. */
export function ClusterPage(props: Props) {
  const { board, cluster, selection, onSelect, onTotal, onCommand, onGo, inView, look, onLook, like } = props;
  const { order, cell, captions, beside } = look;
  const [grid, setGrid] = React.useState({ columns: 1, rowsAPage: 1 });
  const frame = React.useRef<HTMLDivElement>(null);
  const own = useVersionOf(board, cluster.name);
  const seed = like ? String(board.version) : own;
  const neighbors = React.useMemo(
    () => neighborsOf(cluster, owners(board.clusters), board.nearest, N_NEIGHBORS),
    [board.clusters, board.nearest, cluster],
  );
  const images = useImages(
    board.ask,
    {
      key: board.run?.key ?? "",
      cluster: cluster.name,
      order,
      label_field: board.labelField,
      seed,
      like,
      clusters: [cluster.name, ...neighbors.map((other) => other.name)],
    },
    board.fail,
  );
  React.useEffect(() => {
    // "all" stands for the images of the cluster; of similar images, each is chosen
    if (like === null || !selection.all || images.total === 0) return;
    const ids = Array.from({ length: images.total }, (_, at) => images.at(at)?.id).filter((id) => id !== undefined);
    onSelect(add(NOTHING, ids));
  }, [images, like, onSelect, selection.all]);
  React.useEffect(() => onTotal(images.total), [onTotal, images.total]);
  React.useEffect(() => {
    const last = Math.max(0, images.total - 1);
    if (selection.focus > last) onSelect({ ...selection, focus: last, anchor: last });
  }, [images.total, onSelect, selection]);

  useKeysOfParent(frame, (event) => {
    const focused = images.at(selection.focus);
    if (event.key === " " && focused) onSelect(toggle(selection, focused.id, selection.focus));
    else if (isArrow(event.key) && images.total > 0) {
      const next = step(selection.focus, event.key, grid.columns, grid.rowsAPage, images.total);
      if (event.shiftKey) onSelect(extendTo(selection, next, (at) => images.at(at)?.id));
      else onSelect({ ...selection, focus: next, anchor: next });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const nearest = neighbors[0]?.name ?? null;
  const nSelected = countSelected(selection, images.total);
  const open = (image: Image): void => {
    board.ask("show", { key: board.run?.key ?? "", cluster: null, ids: [image.id] }).catch(board.fail);
  };
  const onColumns = React.useCallback((columns: number, rowsAPage: number) => setGrid({ columns, rowsAPage }), []);
  return (
    <Box ref={frame} sx={{ display: "flex", flexDirection: "column", flex: 1, minHeight: 0, px: 1 }} data-cy="dc-cluster-page">
      <Box sx={{ display: "flex", gap: 1, alignItems: "baseline", flexWrap: "wrap", py: 0.5 }}>
        <Button size="small" onClick={() => onGo(null)} data-cy="dc-back">
          ← All clusters
        </Button>
        <Typography variant="h6" component="h2" noWrap data-cy="dc-cluster-name" title={cluster.name}>
          {cluster.reviewed ? "✓ " : ""}
          {cluster.name}
        </Typography>
        <Typography variant="body2" color="text.secondary" data-cy="dc-cluster-facts">
          {counted(cluster.size, board.run)}
          {inView === null ? "" : `, ${number(inView)} in view`}
          {cluster.majority === null ? "" : ` · mostly ${cluster.majority}: ${percent(cluster.majority_share)}`}
          {nearest === null ? "" : ` · nearest: ${nearest}`}
        </Typography>
      </Box>
      <Box sx={{ display: "flex", gap: 0.5, flexWrap: "wrap", alignItems: "center", pb: 0.5 }}>
        {BUTTONS.filter(({ command }) => !cluster.noise || ["move", "show_in_grid"].includes(command)).map((button) => (
          <Tooltip key={button.command} title={button.title}>
            <span>
              <Button
                size="small"
                variant="outlined"
                disabled={button.needsImages === true && nSelected === 0}
                onClick={() => onCommand(button.command)}
                data-cy={`dc-do-${button.command}`}
              >
                {button.text}
              </Button>
            </span>
          </Tooltip>
        ))}
        <Select size="small" value={order} onChange={(event) => onLook({ ...look, order: event.target.value as ImageOrder })} data-cy="dc-image-order">
          {imageOrders(board.run?.rounds ?? 0).map((value) => (
            <MenuItem key={value} value={value}>
              {ORDERS[value]}
            </MenuItem>
          ))}
        </Select>
        <ToggleButton size="small" value="captions" selected={captions} onChange={() => onLook({ ...look, captions: !captions })} data-cy="dc-captions">
          Captions
        </ToggleButton>
        <ToggleButton size="small" value="neighbors" selected={beside === "neighbors"} onChange={() => onCommand("neighbors")} data-cy="dc-show-neighbors">
          Neighbors
        </ToggleButton>
        <ToggleButton size="small" value="history" selected={beside === "history"} onChange={() => onCommand("history")} data-cy="dc-show-history">
          History
        </ToggleButton>
        <Slider
          size="small"
          min={48}
          max={256}
          step={8}
          value={cell}
          onChange={(_, value) => onLook({ ...look, cell: value as number })}
          aria-label="Size of the images"
          sx={{ width: 80, mx: 1 }}
        />
      </Box>
      {beside === "neighbors" && (
        <Neighbors board={board} cluster={cluster} neighbors={neighbors} onGo={onGo} onJoin={props.onJoin} />
      )}
      {beside === "history" && <FlowDiagram board={board} cluster={cluster.name} seed={own} />}
      {like && (
        <Typography variant="body2" data-cy="dc-similar" sx={{ flexShrink: 0 }}>
          {images.loaded ? number(images.total) : "…"} similar to the {counted(like.length, board.run)} selected, in this and the nearest clusters.
          <Button size="small" onClick={() => props.onLike(null)} data-cy="dc-similar-back">
            Back to {cluster.name}
          </Button>
        </Typography>
      )}
      <ImageGrid
        images={images}
        cell={cell}
        captions={captions || like !== null}
        withClusters={like !== null}
        outlierFrom={like ? null : cluster.outlier_from}
        selection={selection}
        onSelect={onSelect}
        onColumns={onColumns}
        onOpen={open}
      />
    </Box>
  );
}

/** Text that changes when the images of the cluster may have changed. */
function useVersionOf(board: Board, cluster: string): string {
  const [version, setVersion] = React.useState(board.version);
  const seen = React.useRef(board.version);
  if (seen.current !== board.version) {
    seen.current = board.version;
    if (board.touched === null || board.touched.has(cluster)) setVersion(board.version);
  }
  return String(version);
}
