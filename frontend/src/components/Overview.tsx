import { Box, Button, Chip, MenuItem, Select, TextField, ToggleButton, ToggleButtonGroup, Tooltip, Typography } from "@mui/material";
import React from "react";

import type { Cluster } from "../model/api";
import type { Picture } from "../model/shared";
import { CLUSTER_ORDERS, type ClusterOrder, type Filter } from "../model/clusters";
import type { Command } from "../model/keys";
import { scrollToShow, visibleCells } from "../model/layout";
import { isArrow, step } from "../model/selection";
import { units } from "../model/units";
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
  /** Name of each cluster -> name of the nearest one. */
  nearest: ReadonlyMap<string, string>;
}

const ROW = { cards: 104, table: 36 } as const;
const PICTURE = { cards: 56, table: 28 } as const;
const HEAD = 28; // height of the head of the table

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
  const nPictures = Math.max(1, Math.min(16, Math.floor((look === "cards" ? width - 16 : STRIP) / (PICTURE[look] + 2))));
  const head = look === "table" ? HEAD : 0;
  const table = useTable(board, props.nearest);
  const strips = useStrips(board, visible);
  const at = Math.max(0, shown.findIndex((cluster) => cluster.name === focused));

  React.useEffect(() => {
    const element = frame.current;
    if (element && height > 0) element.scrollTop = scrollToShow(at, 1, row, height - head, element.scrollTop);
  }, [at, row, height, head]);

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
        sx={{ flex: 1, minHeight: 0, overflowY: "auto", overflowX: look === "table" ? "auto" : "hidden" }}
      >
        {look === "table" && <Head table={table} order={props.order} onOrder={props.onOrder} />}
        {shown.length === 0 && <Typography sx={{ p: 2 }}>No cluster matches.</Typography>}
        <div style={{ height: cells.height, position: "relative", minWidth: look === "table" ? table.width : 0 }}>
          {visible.map((cluster, index) => (
            <Row
              key={cluster.name}
              cluster={cluster}
              pictures={(strips.get(cluster.name) ?? []).slice(0, nPictures)}
              top={(cells.first + index) * row}
              height={row}
              look={look}
              table={table}
              focused={cluster.name === focused}
              inView={props.inView === null ? null : (props.inView[cluster.name] ?? 0)}
              nearest={props.nearest.get(cluster.name) ?? null}
              unit={units(board.run)}
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
  table: Table;
  focused: boolean;
  inView: number | null;
  nearest: string | null;
  unit: string;
  onClick(): void;
}

const Row = React.memo(function Row(props: RowProps) {
  const { cluster, pictures, top, height, look, table, focused, onClick } = props;
  const strip = (
    <Box sx={{ display: "flex", gap: "2px", overflow: "hidden", minHeight: PICTURE[look] }}>
      {pictures.map((picture) => (
        <Thumb key={picture.id} picture={picture} size={PICTURE[look]} />
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
        ...(look === "table" ? { display: "grid", gridTemplateColumns: table.template, gap: 1, alignItems: "center" } : { pt: 0.5 }),
      }}
    >
      {look === "table" ? (
        <>
          {strip}
          {table.columns.map((column) => (
            <Typography key={column.order} component="span" variant="caption" noWrap title={column.text(props)} data-cy={`dc-column-${column.order}`}>
              {column.text(props)}
            </Typography>
          ))}
          <Words words={cluster.key_words} />
        </>
      ) : (
        <>
          <Facts {...props} />
          {strip}
        </>
      )}
    </Box>
  );
});

type Values = Pick<RowProps, "cluster" | "inView" | "nearest">;

interface Column {
  readonly order: ClusterOrder;
  readonly title: string;
  readonly about: string;
  readonly width: number;
  text(values: Values): string;
}

/** The columns that have a value, and their layout. */
interface Table {
  readonly columns: readonly Column[];
  readonly template: string;
  readonly width: number;
}

/** What makes an image uncertain; the order is that of the cluster's page. */
const UNCERTAIN = 'with a confidence below 0.5: they may belong to another cluster. The order "Least confident" of an open cluster shows them first';
const COLUMNS: readonly Column[] = [
  { order: "name", title: "Cluster", about: "Name; ✓: reviewed", width: 120, text: ({ cluster }) => nameOf(cluster) },
  { order: "size", title: "Size", about: "Number of images, and how many the view has", width: 80, text: sizeOf },
  { order: "majority", title: "Majority", about: "Most frequent value of the label field", width: 90, text: ({ cluster }) => cluster.majority ?? "" },
  { order: "majority_share", title: "Share", about: "Share of the majority among the labeled images", width: 50, text: ({ cluster }) => percent(cluster.majority_share) },
  { order: "confidence", title: "Confidence", about: "Mean confidence, 0 to 1", width: 70, text: ({ cluster }) => fixed(cluster.confidence) },
  { order: "distance", title: "Distance", about: "Mean distance to the center; smaller is tighter", width: 60, text: ({ cluster }) => fixed(cluster.distance) },
  { order: "uncertain", title: "Uncertain", about: `Images ${UNCERTAIN}`, width: 65, text: ({ cluster }) => number(cluster.uncertain) },
  { order: "stability", title: "Stable", about: "Share of cluster-mates kept over the last rounds", width: 50, text: ({ cluster }) => percent(cluster.stability) },
  { order: "changes", title: "Changes", about: "How often an image changed its cluster, mean", width: 60, text: ({ cluster }) => fixed(cluster.changes, 1) },
  { order: "nearest", title: "Nearest", about: "Nearest cluster", width: 110, text: ({ nearest }) => nearest ?? "" },
];
const [STRIP, WORDS] = [150, 180];

function useTable(board: Board, nearest: ReadonlyMap<string, string>): Table {
  return React.useMemo(() => {
    const rows = board.clusters.map((cluster) => ({ cluster, inView: null, nearest: nearest.get(cluster.name) ?? null }));
    const columns = COLUMNS.filter((column) => rows.some((row) => column.text(row) !== ""));
    const widths = [STRIP, ...columns.map((column) => column.width), WORDS];
    return {
      columns,
      template: widths.map((width) => `${width}px`).join(" "),
      width: widths.reduce((sum, width) => sum + width + 8, 24), // with gaps of 8 pixels
    };
  }, [board.clusters, nearest]);
}

/** Head of the table; a click sorts. */
function Head({ table, order, onOrder }: { table: Table; order: ClusterOrder; onOrder(order: ClusterOrder): void }) {
  return (
    <Box sx={{ display: "grid", gridTemplateColumns: table.template, gap: 1, px: 1, height: HEAD, minWidth: table.width, alignItems: "center", position: "sticky", top: 0, zIndex: 1, bgcolor: "background.paper", borderLeft: "3px solid transparent", boxSizing: "border-box" }}>
      <span />
      {table.columns.map((column) => (
        <Tooltip key={column.order} title={`${column.about}. ${CLUSTER_ORDERS[column.order]}.`}>
          <Typography
            component="span"
            variant="caption"
            noWrap
            sx={{ cursor: "pointer", fontWeight: order === column.order ? 600 : 400 }}
            onClick={() => onOrder(column.order)}
            data-cy={`dc-sort-${column.order}`}
          >
            {column.title}
            {order === column.order ? " ▾" : ""}
          </Typography>
        </Tooltip>
      ))}
      <Typography component="span" variant="caption">
        Key words
      </Typography>
    </Box>
  );
}

function nameOf(cluster: Cluster): string {
  return `${cluster.reviewed ? "✓ " : ""}${cluster.name}`;
}

function sizeOf({ cluster, inView }: Values): string {
  return inView === null ? number(cluster.size) : `${number(inView)} of ${number(cluster.size)}`;
}

function fixed(value: number | null, digits = 2): string {
  return value === null ? "" : value.toFixed(digits);
}

/** Name, size and what shows whether the cluster is mixed. */
function Facts({ cluster, inView, nearest, unit }: RowProps) {
  const facts: [string, string][] = [];
  if (inView !== null) facts.push([`in view: ${number(inView)} of ${number(cluster.size)}`, `How many of its ${unit} the App's view has`]);
  else facts.push([number(cluster.size), `Number of ${unit}`]);
  if (cluster.majority !== null) {
    facts.push([`mostly ${cluster.majority}: ${percent(cluster.majority_share)}`, `Most frequent label, and its share of the labeled ${unit}`]);
  }
  if (cluster.confidence !== null) facts.push([`confidence ${fixed(cluster.confidence)}`, `Mean confidence of its ${unit}, 0 to 1`]);
  if (cluster.distance !== null) facts.push([`distance ${fixed(cluster.distance)}`, `Mean distance of its ${unit} to the center; smaller is tighter`]);
  if (cluster.uncertain > 0) facts.push([`${number(cluster.uncertain)} uncertain`, `Number of its ${unit} ${UNCERTAIN}`]);
  if (cluster.stability !== null && cluster.stability < 0.995) {
    facts.push([`${percent(cluster.stability)} stable`, "Share of cluster-mates kept over the last rounds"]);
  }
  if (cluster.changes !== null && cluster.changes >= 0.05) facts.push([`${fixed(cluster.changes, 1)} changes`, "How often its cluster changed between rounds, mean"]);
  if (nearest !== null) facts.push([`nearest: ${nearest}`, "Nearest cluster"]);
  return (
    <Box sx={{ display: "flex", gap: 1.5, alignItems: "baseline", overflow: "hidden", whiteSpace: "nowrap", mb: 0.5 }}>
      <Typography component="span" variant="body2" sx={{ fontWeight: 600, flexShrink: 0, maxWidth: "60%" }} noWrap title={cluster.name}>
        {nameOf(cluster)}
      </Typography>
      {facts.map(([text, title]) => (
        <Tooltip key={title} title={title}>
          <Typography component="span" variant="caption" color="text.secondary">
            {text}
          </Typography>
        </Tooltip>
      ))}
      <Words words={cluster.key_words} />
    </Box>
  );
}

function Words({ words }: { words: readonly string[] }) {
  return (
    <Box component="span" sx={{ display: "inline-flex", gap: 0.5, overflow: "hidden" }}>
      {words.slice(0, 3).map((word) => (
        <Chip key={word} label={word} size="small" sx={{ height: 18 }} />
      ))}
    </Box>
  );
}

export function percent(share: number | null): string {
  return share === null ? "" : `${Math.round(100 * share)} %`;
}
