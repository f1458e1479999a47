import { Box, Button, Chip, MenuItem, Select, TextField, ToggleButton, ToggleButtonGroup, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { Cluster, Picture } from "../model/api";
import { CLUSTER_ORDERS, type ClusterOrder, type Filter } from "../model/clusters";
import type { Command } from "../model/keys";
import { scrollToShow, visibleCells } from "../model/layout";
import { isArrow, step } from "../model/selection";
import type { Board } from "../model/useBoard";
import { number } from "./Header";
import { Thumb } from "./Thumb";
import { useKeysOfParent } from "./useKeysOfParent";
import { useSize } from "./useSize";
import { useStrips } from "./useStrips";

interface Props {
  board: Board;
  shown: readonly Cluster[];
  order: ClusterOrder;
  onOrder(order: ClusterOrder): void;
  filter: Filter;
  onFilter(filter: Filter): void;
  search: React.RefObject<HTMLInputElement>;
  focused: string | null;
  onFocus(name: string): void;
  onOpen(name: string): void;
  onCommand(command: Command): void;
  onLeaveSearch(): void;
  inView: Record<string, number> | null;
}

const ROW = { cards: 104, table: 36 } as const;
const PICTURE = { cards: 56, table: 28 } as const;

/** All clusters, as strips of images or as a dense table. Only visible rows are drawn. */
export function Overview(props: Props) {
  const { board, shown, focused, onFocus, onOpen } = props;
  const [look, setLook] = React.useState<"cards" | "table">("cards");
  const frame = React.useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const [scrollTop, setScrollTop] = React.useState(0);
  const row = ROW[look];
  const cells = visibleCells(shown.length, row, row, height, scrollTop); // one column
  const visible = shown.slice(cells.first, cells.last);
  const nPictures = Math.max(1, Math.min(16, Math.floor((look === "cards" ? width - 16 : width / 3) / (PICTURE[look] + 2))));
  const strips = useStrips(board, visible);
  const at = Math.max(0, shown.findIndex((cluster) => cluster.name === focused));

  React.useEffect(() => {
    const element = frame.current;
    if (element && height > 0) element.scrollTop = scrollToShow(at, 1, row, height, element.scrollTop);
  }, [at, row, height]);

  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (!isArrow(event.key) || event.ctrlKey || shown.length === 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = shown[step(at, event.key, 1, Math.max(1, Math.floor(height / row)), shown.length)];
    if (next) onFocus(next.name);
  };
  useKeysOfParent(frame, onKeyDown);

  return (
    <>
      <Controls {...props} look={look} onLook={setLook} />
      <Box
        ref={frame}
        data-cy="dc-overview"
        onScroll={(event) => setScrollTop(event.currentTarget.scrollTop)}
        sx={{ flex: 1, minHeight: 0, overflowY: "auto" }}
      >
        {shown.length === 0 && <Typography sx={{ p: 2 }}>No cluster matches.</Typography>}
        <div style={{ height: cells.height, position: "relative" }}>
          {visible.map((cluster, index) => (
            <Row
              key={cluster.name}
              cluster={cluster}
              pictures={(strips.get(cluster.name) ?? []).slice(0, nPictures)}
              top={(cells.first + index) * row}
              height={row}
              look={look}
              focused={cluster.name === focused}
              inView={props.inView === null ? null : (props.inView[cluster.name] ?? 0)}
              onClick={() => onOpen(cluster.name)}
            />
          ))}
        </div>
      </Box>
    </>
  );
}

function Controls(props: Props & { look: "cards" | "table"; onLook(look: "cards" | "table"): void }) {
  const { board, order, onOrder, filter, onFilter, search, look, onLook } = props;
  return (
    <Box sx={{ display: "flex", flexWrap: "wrap", gap: 1, p: 1, alignItems: "center", flexShrink: 0 }}>
      <TextField
        size="small"
        placeholder="Search"
        value={filter.search}
        inputRef={search}
        onChange={(event) => onFilter({ ...filter, search: event.target.value })}
        onKeyDown={(event) => {
          if (event.key === "Enter" || event.key === "Escape" || event.key === "ArrowDown") {
            event.preventDefault();
            props.onLeaveSearch();
          }
          event.stopPropagation();
        }}
        inputProps={{ "data-cy": "dc-search", "aria-label": "Search clusters" }}
        sx={{ width: 130 }}
      />
      <Select size="small" value={order} onChange={(event) => onOrder(event.target.value as ClusterOrder)} data-cy="dc-order">
        {Object.entries(CLUSTER_ORDERS).map(([value, text]) => (
          <MenuItem key={value} value={value}>
            {text}
          </MenuItem>
        ))}
      </Select>
      <Select
        size="small"
        value={filter.only}
        onChange={(event) => onFilter({ ...filter, only: event.target.value as Filter["only"] })}
        data-cy="dc-only"
      >
        <MenuItem value="all">All</MenuItem>
        <MenuItem value="unreviewed">Not reviewed</MenuItem>
        <MenuItem value="reviewed">Reviewed</MenuItem>
      </Select>
      <Select
        size="small"
        displayEmpty
        value={board.labelField ?? ""}
        onChange={(event) => board.setLabelField(event.target.value || null)}
        data-cy="dc-label-field"
      >
        <MenuItem value="">No label field</MenuItem>
        {(board.run?.label_fields ?? []).map((field) => (
          <MenuItem key={field} value={field}>
            {field}
          </MenuItem>
        ))}
      </Select>
      <ToggleButtonGroup size="small" exclusive value={look} onChange={(_, value) => value && onLook(value)}>
        <ToggleButton value="cards" data-cy="dc-look-cards">Strips</ToggleButton>
        <ToggleButton value="table" data-cy="dc-look-table">Table</ToggleButton>
      </ToggleButtonGroup>
      <Button size="small" variant="outlined" onClick={() => props.onCommand("commit")} data-cy="dc-commit">
        Apply names to a field
      </Button>
    </Box>
  );
}

interface RowProps {
  cluster: Cluster;
  pictures: readonly Picture[];
  top: number;
  height: number;
  look: "cards" | "table";
  focused: boolean;
  inView: number | null;
  onClick(): void;
}

const Row = React.memo(function Row({ cluster, pictures, top, height, look, focused, inView, onClick }: RowProps) {
  const size = PICTURE[look];
  const strip = (
    <Box sx={{ display: "flex", gap: "2px", overflow: "hidden", minHeight: size }}>
      {pictures.map((picture) => (
        <Thumb key={picture.id} picture={picture} size={size} />
      ))}
    </Box>
  );
  return (
    <Box
      data-cy={`dc-cluster-${cluster.name}`}
      data-focused={focused}
      onClick={onClick}
      style={{ position: "absolute", top, left: 0, right: 0, height }}
      sx={{
        px: 1,
        cursor: "pointer",
        boxSizing: "border-box",
        borderLeft: "3px solid",
        borderColor: focused ? "primary.main" : "transparent",
        bgcolor: focused ? "action.selected" : "transparent",
        "&:hover": { bgcolor: "action.hover" },
        ...(look === "table" ? { display: "flex", gap: 1, alignItems: "center" } : { pt: 0.5 }),
      }}
    >
      {look === "table" && <Box sx={{ width: "33%", flexShrink: 0 }}>{strip}</Box>}
      <Facts cluster={cluster} inView={inView} />
      {look === "cards" && strip}
    </Box>
  );
});

/** Name, size and what shows whether the cluster is mixed. */
function Facts({ cluster, inView }: { cluster: Cluster; inView: number | null }) {
  const facts: [string, string][] = [];
  if (inView !== null) facts.push([`in view: ${number(inView)} of ${number(cluster.size)}`, "Images in the App's current view"]);
  else facts.push([number(cluster.size), "Number of images"]);
  if (cluster.majority !== null) {
    facts.push([`mostly ${cluster.majority}: ${percent(cluster.majority_share)}`, "Most frequent label, and its share of the labeled images"]);
  }
  if (cluster.confidence !== null) facts.push([`confidence ${cluster.confidence.toFixed(2)}`, "Mean confidence of its images, 0 to 1"]);
  if (cluster.distance !== null) facts.push([`distance ${cluster.distance.toFixed(2)}`, "Mean distance of its images to the center; smaller is tighter"]);
  if (cluster.uncertain > 0) facts.push([`${number(cluster.uncertain)} uncertain`, "Images with a confidence below 0.5"]);
  if (cluster.changes !== null && cluster.changes >= 0.05) facts.push([`${cluster.changes.toFixed(1)} changes`, "How often an image changed its cluster, mean"]);
  return (
    <Box sx={{ display: "flex", gap: 1.5, alignItems: "baseline", overflow: "hidden", whiteSpace: "nowrap", mb: 0.5 }}>
      <Typography component="span" variant="body2" sx={{ fontWeight: 600, flexShrink: 0, maxWidth: "60%" }} noWrap title={cluster.name}>
        {cluster.reviewed ? "✓ " : ""}
        {cluster.name}
      </Typography>
      {facts.map(([text, title]) => (
        <Tooltip key={title} title={title}>
          <Typography component="span" variant="caption" color="text.secondary">
            {text}
          </Typography>
        </Tooltip>
      ))}
      {cluster.key_words.slice(0, 3).map((word) => (
        <Chip key={word} label={word} size="small" sx={{ height: 18 }} />
      ))}
    </Box>
  );
}

export function percent(share: number | null): string {
  return share === null ? "" : `${Math.round(100 * share)} %`;
}
