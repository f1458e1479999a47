import { Alert, Box, CircularProgress, Tab, Tabs, Typography } from "@mui/material";
import { selectedSamples } from "@fiftyone/state";
import React from "react";
import { useRecoilValue } from "recoil";

import { HelpDialog } from "../dialogs/HelpDialog";
import { EditDialog, type Asked } from "../dialogs/EditDialog";
import { ALL, arrange, follow, nearestNames, nextUnreviewed, successor, type ClusterOrder, type Filter } from "../model/clusters";
import type { Cluster, Edit } from "../model/api";
import { BINDINGS, MOVES, commandOf, type Command } from "../model/keys";
import { Memory, textOrNull } from "../model/memory";
import { NOTHING, chosen, clearSelection, countSelected, selectAll, type Selection } from "../model/selection";
import { units } from "../model/units";
import { useAsk, type Asking } from "../model/useAsk";
import { useBoard, type Board as BoardState } from "../model/useBoard";
import { AnalysesPage } from "./AnalysesPage";
import { AuditTab } from "./audit/AuditTab";
import { ClusterPage, imageOrders, LOOK, type Look } from "./ClusterPage";
import { ComparePage } from "./ComparePage";
import { EmptyPage } from "./EmptyPage";
import { Header } from "./Header";
import { Messages } from "./Messages";
import { isTyping, pressesControl } from "./keyboard";
import { Overview } from "./Overview";
import { RoundsPage } from "./RoundsPage";
import { RunsPage } from "./RunsPage";
import { useColors, type Colors } from "./useColors";
import { useFollowGrid } from "./useFollowGrid";
import { useFreshGrid } from "./useFreshGrid";
import { useInView } from "./useInView";
import { useMarking } from "./useMarking";
import { usePolling } from "./usePolling";
import { useSidebar } from "./useSidebar";

const TABS = { clusters: "Clusters", rounds: "Rounds", compare: "Compare", analyses: "Analyses", audit: "Audit", runs: "Runs" } as const;
type TabName = keyof typeof TABS;
const TAB_NAMES = Object.keys(TABS) as TabName[];

/** The "Clusters" panel: overview, one cluster, rounds, comparison, label audit and runs. */
export function Board({ schema }: { schema?: { view?: Record<string, unknown> } }) {
  const asking = useAsk(schema?.view ?? {});
  const asked = textOrNull(schema?.view?.["run"]);
  const dataset = textOrNull(schema?.view?.["dataset"]) ?? "";
  // another dataset has its own runs, tab and messages: nothing of the last one may be shown, edited or kept for it
  return <BoardOf key={JSON.stringify([dataset, asked])} asking={asking} asked={asked} dataset={dataset} />;
}

function BoardOf({ asking, asked, dataset }: { asking: Asking; asked: string | null; dataset: string }) {
  const { ask, isShowing } = asking;
  const board = useBoard(ask);
  const { load } = board;
  const memory = React.useMemo(() => new Memory(dataset, asked), [dataset, asked]);
  React.useEffect(() => void load(memory.read().run ?? asked), [load, memory, asked]);
  const shown = board.run?.key ?? null;
  React.useEffect(() => {
    if (shown !== null) memory.keep({ run: shown });
  }, [memory, shown]);
  usePolling(board);
  useSidebar(board);
  useFreshGrid();
  useFollowGrid(board, isShowing);

  const problem = board.messages[board.messages.length - 1];
  if (!board.loaded) {
    return (
      <Box sx={{ p: 4, textAlign: "center" }}>
        {problem ? <Alert severity="error">{problem.text}</Alert> : <CircularProgress />}
      </Box>
    );
  }
  return (
    <Box
      sx={{ height: "100%", display: "flex", flexDirection: "column", overflow: "hidden", position: "relative" }}
      onMouseDown={keepFocus}
      data-cy="dc-board"
    >
      <Pages board={board} memory={memory} />
      <Messages board={board} />
    </Box>
  );
}

/** A click on a button keeps the keyboard focus where it was. */
function keepFocus(event: React.MouseEvent): void {
  if (event.target instanceof Element && event.target.closest("button") !== null) event.preventDefault();
}

function Pages({ board, memory }: { board: BoardState; memory: Memory }) {
  const [chosen, setChosen] = React.useState(() => TAB_NAMES.find((name) => name === memory.read().tab) ?? null);
  const setTab = (tab: TabName): void => {
    setChosen(tab);
    memory.keep({ tab });
  };
  const colors = useColors(board);
  if (board.runs.length === 0 && board.audits.length === 0 && board.jobs.length === 0) return <EmptyPage board={board} />;
  const tab = chosen ?? (board.runs.length > 0 ? "clusters" : board.audits.length > 0 ? "audit" : "runs");
  const tabs = (
    <Tabs
      value={tab}
      onChange={(_, value: TabName) => setTab(value)}
      variant="scrollable"
      sx={{ minHeight: 36, flexShrink: 0, "& .MuiTab-root": { minHeight: 36, minWidth: 0, px: 1.25, py: 0 } }}
    >
      {Object.entries(TABS).map(([name, label]) => (
        <Tab key={name} value={name} label={label} data-cy={`dc-tab-${name}`} />
      ))}
    </Tabs>
  );
  if (tab === "audit") return <AuditTab board={board} tabs={tabs} />;
  return (
    <>
      <Header board={board} colors={colors} />
      {tabs}
      {tab === "clusters" && board.run !== null && <ClustersTab key={board.run.key} board={board} colors={colors} />}
      {tab === "rounds" && board.run !== null && <RoundsPage board={board} />}
      {tab === "analyses" && board.run !== null && <AnalysesPage board={board} />}
      {tab === "compare" && board.run !== null && <ComparePage board={board} />}
      {(tab === "runs" || board.run === null) && <RunsPage board={board} onTab={setTab} />}
    </>
  );
}

/** Overview and one cluster, with the keyboard. */
function ClustersTab({ board, colors }: { board: BoardState; colors: Colors }) {
  const [order, setOrder] = React.useState<ClusterOrder>("size");
  const [filter, setFilter] = React.useState<Filter>(ALL);
  const [focused, setFocused] = React.useState<string | null>(null);
  const [opened, setOpened] = React.useState<string | null>(null);
  const [visit, setVisit] = React.useState(0); // number of page visits
  const [selection, setSelection] = React.useState<Selection>(NOTHING);
  const [like, setLike] = React.useState<readonly string[] | null>(null);
  const [total, setTotal] = React.useState(0);
  const [look, setLook] = React.useState<Look>(LOOK);
  const [asked, setAsked] = React.useState<Asked | null>(null);
  const [help, setHelp] = React.useState(false);
  const root = React.useRef<HTMLDivElement>(null);
  const search = React.useRef<HTMLInputElement>(null);
  const inView = useInView(board);
  const marking = useMarking(board);
  const inGrid = [...useRecoilValue(selectedSamples).keys()];

  const nearest = React.useMemo(() => nearestNames(board.clusters, board.nearest), [board.clusters, board.nearest]);
  const shown = React.useMemo(
    () => arrange(board.clusters, order, filter, nearest),
    [board.clusters, order, filter, nearest],
  );
  const known = React.useRef<Cluster | null>(null); // the open cluster, as it was last seen under its name
  known.current = board.clusters.find((cluster) => cluster.name === opened) ?? known.current;
  const before = known.current?.name === opened ? known.current : null;
  // if others have renamed or joined it, its images are looked for
  const open = follow(board.clusters, opened, board.touched) ?? (before && successor(board.clusters, before.numbers));
  const target = open ?? shown.find((cluster) => cluster.name === focused) ?? shown[0] ?? null;
  const takeFocus = React.useCallback(() => root.current?.focus({ preventScroll: true }), []);
  const latest = React.useRef({ visit, asked });
  latest.current = { visit, asked };
  const mounted = React.useRef(true);
  React.useEffect(() => {
    mounted.current = true;
    return () => {
      mounted.current = false;
    };
  }, []);
  const changed = React.useRef(0); // time at which the page changed last
  const go = React.useCallback((name: string | null) => {
    changed.current = performance.now();
    setOpened(name);
    setVisit((visit) => visit + 1);
    if (name !== null) setFocused(name);
    setSelection(NOTHING);
    setLike(null);
  }, []);
  // an open dialog has the keyboard
  React.useEffect(() => {
    if (asked === null && !help) takeFocus();
  }, [takeFocus, opened, asked, help]);
  const openName = open?.name ?? null;
  // before the page is painted: a key that is pressed as soon as the new name shows must not be undone by this
  React.useLayoutEffect(() => {
    if (openName === opened) return;
    setOpened(openName);
    if (openName !== null) setFocused(openName);
  }, [openName, opened]);

  // so is the cluster of an open dialog
  React.useLayoutEffect(() => {
    if (asked === null || !("cluster" in asked)) return;
    const now = follow(board.clusters, asked.cluster.name, board.touched);
    if (now === null) {
      setAsked(null);
      board.notify({ text: `There is no cluster ${asked.cluster.name} any more.`, kind: "warning" });
    } else if (now !== asked.cluster) setAsked({ ...asked, cluster: now });
  }, [asked, board]);

  const images = open ? chosen(selection, open.name) : null;
  const nSelected = open ? countSelected(selection, total) : 0;
  const fromGrid = nSelected === 0 && inGrid.length > 0;
  const edit = async (asked: Edit, then: () => void): Promise<void> => {
    if (await board.edit(asked)) then();
  };
  const unselect = (): void => {
    if (latest.current.visit === visit) setSelection(clearSelection); // not what was selected on the next page
  };
  const needImages = (): void => {
    const what = units(board.run);
    board.notify({ text: open ? `Select ${what} first (Space).` : `Open a cluster (Enter) and select ${what}, or select ${what} in the grid.`, kind: "info" });
  };
  const showLike = (ids: readonly string[] | null): void => {
    setLike(ids);
    setSelection(NOTHING);
  };
  const beside = (what: "neighbors" | "history"): void => setLook({ ...look, beside: look.beside === what ? null : what });
  const undoOrRedo = (verb: "undo" | "redo"): void => {
    if (!board.busy && board.history[verb] === null) board.notify({ text: `Nothing to ${verb}.`, kind: "info" });
    else void marking.edit({ verb }).then((answer) => answer && unselect());
  };
  const reviewAndGo = (): void => {
    if (!open) return;
    const others = board.clusters.filter((cluster) => !marking.isMarked(cluster.name));
    const next = nextUnreviewed(arrange(others, order, ALL, nearest), open.name);
    const then = (): void => {
      if (next === null) board.notify({ text: "All clusters are reviewed. Press L to apply their names to a field.", kind: "success" });
    };
    if (open.reviewed || open.noise) then();
    else void marking.mark(open.name).then((answer) => answer && then());
    go(next);
  };

  const run: Record<Command, () => void> = {
    open: () => target && go(target.name),
    back: () => (nSelected > 0 ? unselect() : like ? showLike(null) : go(null)),
    move: () => (nSelected > 0 || fromGrid ? setAsked({ dialog: "move" }) : needImages()),
    reject: () => {
      if (nSelected === 0 || !images) needImages();
      else void edit({ verb: "reject", images }, unselect);
    },
    name: () => target && !target.noise && setAsked({ dialog: "name", cluster: target }),
    split: () => target && !target.noise && setAsked({ dialog: "split", cluster: target }),
    join: () => target && !target.noise && setAsked({ dialog: "join", cluster: target, other: null }),
    reviewed: reviewAndGo,
    unreviewed: () =>
      target && !target.noise && void marking.edit({ verb: "mark_reviewed", clusters: [target.name], reviewed: !target.reviewed }),
    undo: () => undoOrRedo("undo"),
    redo: () => undoOrRedo("redo"),
    toggle: () => undefined, // the grid of images knows the image
    select_all: () => setSelection(selectAll),
    show_in_grid: () => {
      const ids = nSelected > 0 && !selection.all ? [...selection.ids] : null;
      board.ask("show", { key: board.run?.key ?? "", cluster: target?.name ?? null, ids }).catch(board.fail);
      colors.turn(true);
    },
    similar: () => {
      if (nSelected === 0) needImages();
      else if (selection.all) board.notify({ text: `Select some ${units(board.run)}, not the whole cluster.`, kind: "info" });
      else showLike([...selection.ids].slice(0, MOST_LIKE));
    },
    history: () => beside("history"),
    neighbors: () => beside("neighbors"),
    next: () => go(neighbor(shown, opened, 1)),
    previous: () => go(neighbor(shown, opened, -1)),
    order: () => {
      const orders = imageOrders(board.run?.rounds ?? 0);
      if (open) setLook({ ...look, order: orders[(orders.indexOf(look.order) + 1) % orders.length] ?? LOOK.order });
      else setOrder(order === "worst" ? "size" : "worst");
    },
    commit: () => setAsked({ dialog: "commit" }),
    search: () => search.current?.focus({ preventScroll: true }),
    help: () => setHelp(true),
  };
  const carryOut = (command: Command): void => {
    if (!ONCE.includes(command)) run[command]();
    else if (performance.now() - changed.current < DOUBLE_PRESS) return;
    else if (board.busy && (command !== "reviewed" || marking.isUnknown())) board.notify({ text: "The last edit is still being saved. Press the key again when it is.", kind: "info" });
    else run[command]();
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (asked !== null || help || isTyping(event.target) || pressesControl(event)) return;
    const command = commandOf(event, open ? "cluster" : "overview");
    if (command === null || command === "toggle") return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || (REPEATS.includes(command) && !(board.busy && ANSWERED.includes(command)))) carryOut(command);
  };

  return (
    <Box
      ref={root}
      tabIndex={0}
      onKeyDown={onKeyDown}
      data-cy="dc-clusters"
      sx={{ flex: 1, minHeight: 0, display: "flex", flexDirection: "column", outline: "none", position: "relative" }}
    >
      {open ? (
        <ClusterPage
          key={visit} // another cluster must not be shown with the images of the last one
          board={board}
          cluster={open}
          selection={selection}
          onSelect={setSelection}
          onTotal={setTotal}
          onCommand={carryOut}
          onGo={go}
          onJoin={(other) => setAsked({ dialog: "join", cluster: open, other })}
          like={like}
          onLike={showLike}
          look={look}
          onLook={setLook}
          inView={inView?.[open.name] ?? null}
        />
      ) : (
        <Overview
          board={board}
          shown={shown}
          order={order}
          onOrder={setOrder}
          filter={filter}
          onFilter={setFilter}
          search={search}
          focused={target?.name ?? null}
          onFocus={setFocused}
          onOpen={go}
          onCommand={carryOut}
          onLeaveSearch={takeFocus}
          inView={inView}
          nearest={nearest}
        />
      )}
      {asked && (
        <EditDialog
          asked={asked}
          board={board}
          images={fromGrid ? { ids: inGrid } : images}
          nImages={fromGrid ? inGrid.length : nSelected}
          where={fromGrid ? " selected in the grid" : ""}
          onClose={() => setAsked(null)}
          onEdit={(edited, typed) => {
            setAsked(null);
            const again = (problem: string): void => {
              if (typed !== undefined && mounted.current && latest.current.visit === visit && latest.current.asked === null) setAsked({ ...asked, typed, problem });
              else board.notify({ text: problem, kind: "error" });
            };
            void marking.edit(edited, again).then((answer) => answer && unselect());
          }}
        />
      )}
      {help && <HelpDialog bindings={[...MOVES, ...BINDINGS]} pages={PAGES} onClose={() => setHelp(false)} />}
      <Typography variant="caption" color="text.secondary" sx={{ px: 1, py: 0.5, flexShrink: 0 }} noWrap data-cy="dc-foot">
        {nSelected > 0 ? `${nSelected.toLocaleString("en")} selected` : "? shows the keys"}
        {board.busy ? " · Saving…" : ""}
      </Typography>
    </Box>
  );
}

function neighbor(shown: readonly { name: string }[], opened: string | null, by: number): string | null {
  const at = shown.findIndex((cluster) => cluster.name === opened);
  return shown[at + by]?.name ?? opened;
}

const PAGES = { overview: "Overview", cluster: "Cluster" } as const;

/** Edits by one key: the second of two quick presses must not change the cluster that the first press led to. */
const ONCE: readonly Command[] = ["reviewed", "unreviewed", "reject"];
const DOUBLE_PRESS = 300; // milliseconds
const MOST_LIKE = 200; // images whose mean the similar ones are compared with
/** Commands that a key held down repeats. */
const REPEATS: readonly Command[] = ["next", "previous", "undo", "redo"];
/** Of these, commands that are repeated only after the answer: else they would go on after the key is let go. */
const ANSWERED: readonly Command[] = ["undo", "redo"];
