import { Box, Button, Typography } from "@mui/material";
import React from "react";

import { AuditDialog, type AuditAsked } from "../../dialogs/AuditDialogs";
import { HelpDialog } from "../../dialogs/HelpDialog";
import { AUDIT_BINDINGS, auditCommandOf, classKeys, decisionFor, digitOf, type AuditCommand, type Decided } from "../../model/auditKeys";
import { useAudit } from "../../model/useAudit";
import type { Board } from "../../model/useBoard";
import { JobRows, isBusy } from "../JobRows";
import { isTyping, pressesControl } from "../keyboard";
import { AuditHeader } from "./AuditHeader";
import { AuditTables } from "./AuditTables";
import { QueuePage } from "./QueuePage";

/** Label audits: the tables of one, and its queue of suspicious labels, with the keyboard. */
export function AuditTab({ board, tabs }: { board: Board; tabs: React.ReactNode }) {
  const [session, audit] = useAudit(board);
  const [asked, setAsked] = React.useState<AuditAsked | null>(null);
  const [help, setHelp] = React.useState(false);
  const [wholeGroup, setWholeGroup] = React.useState(false);
  const root = React.useRef<HTMLDivElement>(null);
  const page = audit.wanted === null ? "tables" : "queue";
  const shown = audit.items[0];
  const legend = React.useMemo(
    () => (shown && audit.facts ? classKeys(audit.facts.classes, audit.facts.by_class, shown) : []),
    [audit.facts, shown],
  );
  const hasAudit = audit.facts !== null;
  // an open dialog has the keyboard
  React.useEffect(() => {
    if (asked === null && !help) root.current?.focus({ preventScroll: true });
  }, [asked, help, page, hasAudit]);

  const decide = (decided: Decided): void => {
    session.decide(decided, wholeGroup && typeof shown?.group === "string");
    setWholeGroup(false);
  };
  const run: Record<AuditCommand, () => void> = {
    start: () => hasAudit && session.open({}),
    back: () => session.open(null),
    keep: () => decide({ decision: "keep", label: null }),
    accept: () => {
      if (!shown) return;
      if (shown.suggestion !== null) decide({ decision: "accept", label: null });
      else board.notify({ text: "There is no suggestion for this label. Keep it (K), or give another class (1-9, O).", kind: "info" });
    },
    exclude: () => decide({ decision: "exclude", label: null }),
    unsure: () => decide({ decision: "unsure", label: null }),
    other: () => shown && setAsked({ dialog: "class", item: shown }),
    group: () => typeof shown?.group === "string" && setWholeGroup(!wholeGroup),
    undo: () => session.undo(),
    redo: () => session.redo(),
    above: () => hasAudit && setAsked({ dialog: "above" }),
    write: () => hasAudit && setAsked({ dialog: "write" }),
    help: () => setHelp(true),
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    if (asked !== null || help || !hasAudit || isTyping(event.target) || pressesControl(event)) return;
    const command = auditCommandOf(event, page);
    const label = page === "queue" ? legend[digitOf(event) ?? -1] : undefined;
    if (command === null && label === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat && command !== "undo" && command !== "redo") return; // a key held down decides one label
    if (command !== null) run[command]();
    else if (label !== undefined && shown) decide(decisionFor(label, shown));
  };

  return (
    <>
      {audit.facts && <AuditHeader board={board} session={session} audit={audit} onCommand={(command) => run[command]()} />}
      {tabs}
      <JobRows board={board} jobs={board.jobs.filter((job) => job.verb === "audit_labels" && job.status !== "finished")} />
      <Box
        ref={root}
        tabIndex={0}
        onKeyDown={onKeyDown}
        data-cy="dc-audit"
        sx={{ flex: 1, minHeight: 0, display: "flex", flexDirection: "column", outline: "none" }}
      >
        {audit.loaded && !audit.facts && !isAudited(board) && <NoAudit board={board} />}
        {audit.facts && page === "tables" && <AuditTables facts={audit.facts} audit={audit} onOpen={(wanted) => session.open(wanted)} />}
        {audit.facts && page === "queue" && (
          <QueuePage
            board={board}
            facts={audit.facts}
            audit={audit}
            legend={legend}
            wholeGroup={wholeGroup}
            onDecide={decide}
            onCommand={(command) => run[command]()}
            onOpen={(wanted) => session.open(wanted)}
          />
        )}
        {asked && (
          <AuditDialog
            asked={asked}
            board={board}
            audit={audit}
            session={session}
            onClose={() => setAsked(null)}
            onDecide={(decided) => {
              setAsked(null);
              decide(decided);
            }}
          />
        )}
        {help && <HelpDialog bindings={[DIGITS, ...AUDIT_BINDINGS]} pages={PAGES} onClose={() => setHelp(false)} />}
        {audit.facts && (
          <Typography variant="caption" color="text.secondary" sx={{ px: 1, py: 0.5, flexShrink: 0 }} noWrap data-cy="dc-audit-last">
            {audit.last || "? shows the keys"}
          </Typography>
        )}
      </Box>
    </>
  );
}

const DIGITS = { shown: "1-9", pages: ["queue"], text: "Another class; the legend below the image shows which" } as const;
const PAGES = { tables: "Tables", queue: "Queue" } as const;

/** Whether there is an audit, or will be one: its tables are shown as soon as they are loaded. */
function isAudited(board: Board): boolean {
  return board.audits.length > 0 || board.jobs.some((job) => job.verb === "audit_labels" && isBusy(job));
}

function NoAudit({ board }: { board: Board }) {
  return (
    <Box sx={{ p: 4, textAlign: "center", overflowY: "auto" }} data-cy="dc-no-audit">
      <Typography variant="h6">No label audit yet</Typography>
      <Typography sx={{ my: 2 }} color="text.secondary">
        An audit estimates the probability that each label is wrong, and suggests a better one. It changes no label: you decide.
      </Typography>
      <Button
        variant="contained"
        onClick={() => board.ask("start", { operator: "audit_labels", key: null }).catch(board.fail)}
        data-cy="dc-audit-start"
      >
        Audit labels
      </Button>
    </Box>
  );
}
