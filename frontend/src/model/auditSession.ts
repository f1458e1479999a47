// State of one label audit: decisions are shown immediately; the edits are sent to the server one after another.
import type { Ask } from "./api";
import type { History } from "./shared";
import type { AuditEdit, AuditEditAnswer, AuditFacts, AuditItem, Wanted } from "./auditApi";
import { NOTHING, keepShown, removing, restoring, same, type Effect, type Known } from "./auditEffects";
import { decidedText, type Decided } from "./auditKeys";
import { keepTabOpen } from "./keepTabOpen";

export const N_LOADED = 24;
/** Labels left in the browser at which more are loaded. */
export const N_FEW = 12;
export interface AuditState extends Known {
  readonly loaded: boolean;
  readonly audits: readonly string[];
  readonly facts: AuditFacts | null;
  readonly history: History;
  readonly wanted: Wanted | null;
  /** What was done last, in words. */
  readonly last: string;
  /** Number of edits without an answer. */
  readonly waiting: number;
  readonly fitting: boolean;
}

/** An edit whose answer is missing. */
interface Pending {
  readonly effect: Effect;
}

/** A decision made here: its labels, and the number of its edit once that is known. */
interface Done {
  readonly items: readonly AuditItem[];
  readonly decided: Decided;
  readonly text: string;
  number: number | null;
}

/** How an edit is carried out. */
interface How {
  readonly effect: Effect;
  /** Description of the edit; by default that of the server. */
  readonly text?: string;
  /** Whether it still makes sense when its turn comes. */
  isReady?(): boolean;
  /** Whether the display agrees with the answer; otherwise all is loaded again. */
  onAnswer(answer: AuditEditAnswer): boolean;
}

const NO_HISTORY: History = { undo: null, redo: null, lost: 0, version: 0 };
export const NO_AUDIT: AuditState = {
  ...NOTHING,
  loaded: false,
  audits: [],
  facts: null,
  history: NO_HISTORY,
  wanted: null,
  last: "",
  waiting: 0,
  fitting: false,
};

export interface Messages {
  fail(error: unknown): void;
  warn(text: string): void;
  inform(text: string): void;
}

/** The state of an audit. `subscribe` and `snapshot` are what React's `useSyncExternalStore` needs. */
export class AuditSession {
  private state: AuditState = NO_AUDIT;
  private readonly listeners = new Set<() => void>();
  private line: Promise<unknown> = Promise.resolve();
  private pending: Pending[] = [];
  private done: Done[] = [];
  private undone: Done[] = [];
  private reading = false;
  private unfit = false; // its vectors are gone: it cannot be fitted again

  constructor(
    private readonly ask: Ask,
    private readonly messages: Messages,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): AuditState => this.state;

  private set(change: Partial<AuditState>): void {
    this.state = { ...this.state, ...change };
    this.listeners.forEach((listener) => listener());
  }

  /** Do something after all earlier requests are answered. */
  private after(work: () => Promise<void>): Promise<void> {
    const next = this.line.then(work);
    this.line = next.catch(() => undefined);
    return next;
  }

  /** An answer of the server, with the effects of edits that it does not have yet. */
  private withPending(known: Known): Known {
    return this.pending.reduce((known, { effect }) => effect(known), known);
  }

  // ---------------------------------------------------------------- reading

  /** Load the tables of an audit; null: the one shown, else the newest. */
  load(key: string | null = null): Promise<void> {
    const asked = key ?? this.state.facts?.key ?? null;
    return this.after(async () => {
      try {
        const answer = await this.ask("audit_load", { audit: asked });
        if (answer.audit === null) {
          this.forget();
          this.set({ ...NO_AUDIT, loaded: true });
          return;
        }
        const { audits, audit, history } = answer;
        if (audit.key !== this.state.facts?.key) {
          this.forget();
          this.set({ ...NOTHING, wanted: null, last: "" });
        }
        const { progress, left } = this.withPending({ ...NOTHING, progress: answer.progress, left: answer.left });
        this.set({ loaded: true, audits, facts: audit, history, progress, left });
        this.refitIfDue();
      } catch (error) {
        this.messages.fail(error);
      }
    });
  }

  private forget(): void {
    this.forgetDecisions();
    this.unfit = false;
  }

  /** Show a queue; null: the tables again. */
  open(wanted: Wanted | null): void {
    this.forgetDecisions();
    this.set({ wanted, items: [], total: null });
    if (wanted !== null) void this.read();
    else void this.load();
  }

  /** Load the next labels of the queue; the one that is shown stays, unless somebody has decided it. */
  private read(count = true): Promise<void> {
    this.reading = true;
    return this.after(async () => {
      const { wanted, facts, items } = this.state;
      const first = items[0]?.id ?? null;
      try {
        if (wanted === null || facts === null) return;
        const answer = await this.ask("audit_queue", { audit: facts.key, wanted, n: N_LOADED, first, count });
        if (this.state.wanted !== wanted || this.state.facts?.key !== facts.key) return;
        const known = this.withPending({ ...NOTHING, ...answer });
        const total = count ? known.total : this.state.total;
        this.set({ items: keepShown(known.items, this.state.items[0], first), total });
      } catch (error) {
        this.messages.fail(error);
      } finally {
        this.reading = false;
      }
    });
  }

  private readIfFew(): void {
    const { items, total } = this.state;
    if (!this.reading && items.length < N_FEW && (total === null || total > items.length)) void this.read(total === null);
  }

  /** Load tables and queue again, as others changed them. */
  reload(): Promise<void> {
    void this.load();
    return this.read();
  }

  // ---------------------------------------------------------------- decisions

  /** Decide about the label that is shown, or about all labels of its group. */
  decide(decided: Decided, wholeGroup: boolean): void {
    const { items } = this.state;
    const shown = items[0];
    if (shown === undefined) return;
    const group = wholeGroup ? shown.group : null;
    const some = group === null ? [shown] : items.filter((item) => item.group === group);
    const entry: Done = { items: some, decided, text: decidedText(decided, shown), number: null };
    const of = group === null ? { image: shown.id } : { group };
    this.done.push(entry);
    this.undone = [];
    void this.edit({ verb: "decide", ...of, decision: decided.decision, label: decided.label }, {
      effect: removing(some, decided.decision),
      text: entry.text,
      onAnswer: (answer) => {
        if (answer.change.n_changed > 0) entry.number = answer.number;
        return group === null && entry.number !== null; // else it was decided like this before, and cannot be undone
      },
    });
    this.readIfFew();
  }

  /** Undo the last edit; a decision made here is shown again at once. */
  undo(): void {
    const entry = this.done.pop();
    if (entry) this.undone.push(entry);
    this.step("undo", entry, entry && restoring(entry.items, entry.decided.decision));
  }

  /** Redo the edit that was undone last. */
  redo(): void {
    const entry = this.undone.pop();
    if (entry) this.done.push(entry);
    this.step("redo", entry, entry && removing(entry.items, entry.decided.decision));
    this.readIfFew();
  }

  /** The server takes the last edit of all people: where that was another than the one shown here, load again. */
  private step(verb: "undo" | "redo", entry: Done | undefined, effect: Effect | undefined): void {
    if (!entry && this.state.waiting === 0 && this.state.history[verb] === null) {
      this.messages.inform(`Nothing to ${verb}.`);
      return;
    }
    void this.edit({ verb }, {
      effect: effect ?? same,
      text: entry ? `${verb === "undo" ? "undone" : "redone"}: ${entry.text}` : "",
      isReady: () => entry === undefined || entry.number !== null, // else the decision failed: there is nothing to undo
      onAnswer: (answer) => {
        const asShown = entry !== undefined && entry.number === answer.number;
        if (!asShown) this.forgetDecisions();
        return asShown;
      },
    });
  }

  /** Accept all suggestions of the queue from a probability on. */
  acceptAbove(p_wrong: number, wanted: Wanted): Promise<void> {
    const gone = this.state.items.filter((item) => item.suggestion !== null && item.p_wrong >= p_wrong);
    this.forgetDecisions();
    return this.edit({ verb: "accept_above", p_wrong, wanted }, { effect: removing(gone, "accept"), onAnswer: () => false });
  }

  /** Write the decided labels to a field. */
  commit(field: string, overwrite: boolean): Promise<void> {
    this.forgetDecisions();
    return this.edit({ verb: "commit", field, overwrite }, { effect: same, onAnswer: () => false }); // the field may be new
  }

  private edit(edit: AuditEdit, how: How): Promise<void> {
    const key = this.state.facts?.key;
    if (key === undefined) return Promise.resolve();
    const { effect, text = "" } = how;
    const pending: Pending = { effect };
    this.pending.push(pending);
    this.set({ ...effect(this.state), last: text, waiting: this.state.waiting + 1 });
    const sent = this.after(async () => {
      let again = true;
      try {
        if (how.isReady?.() === false) return;
        const answer = await this.ask("audit_edit", { audit: key, edit, version: this.state.history.version });
        this.pending = this.pending.filter((other) => other !== pending);
        again = !how.onAnswer(answer) || answer.stale;
        const { progress } = this.withPending({ ...NOTHING, progress: answer.progress });
        this.set({ progress, history: answer.history, ...(text === "" ? { last: answer.change.text } : {}) });
        if (answer.change.n_kept > 0) this.messages.warn(answer.change.text);
        else if (text === "") this.messages.inform(answer.change.text);
        this.refitIfDue();
      } catch (error) {
        this.forgetDecisions();
        this.set({ last: "" });
        this.messages.fail(error);
      } finally {
        this.pending = this.pending.filter((other) => other !== pending);
        this.set({ waiting: this.state.waiting - 1 });
        if (again) void this.reload();
      }
    });
    return keepTabOpen(sent);
  }

  private forgetDecisions(): void {
    this.done = [];
    this.undone = [];
  }

  // ---------------------------------------------------------------- scores, and what others do

  /** Fit the scores again after enough decisions. More can be made meanwhile; then the queue is loaded again. */
  private refitIfDue(): void {
    const { facts, progress, fitting } = this.state;
    if (facts === null || fitting || this.unfit || !progress?.refit_due || progress.refitting) return;
    this.set({ fitting: true });
    this.ask("audit_refit", { audit: facts.key })
      .then(
        () => void this.reload(),
        (error: unknown) => {
          this.unfit = true;
          this.messages.warn(error instanceof Error ? error.message : String(error));
        },
      )
      .finally(() => this.set({ fitting: false }));
  }

  /** Poll decisions of others, scores that were fitted elsewhere, and other audits. */
  async poll(): Promise<void> {
    const { facts, history, waiting, audits } = this.state;
    if (waiting > 0 || this.reading) return;
    const answer = await this.ask("audit_poll", { audit: facts?.key ?? null, version: history.version });
    const now = this.state;
    if (now.waiting > 0 || now.facts !== facts || now.history.version !== history.version) return;
    const others = JSON.stringify(answer.audits) !== JSON.stringify(audits);
    if (others || answer.stale || (facts !== null && answer.n_fits !== facts.n_fits)) await this.reload();
    else if (now.progress && now.progress.refitting !== answer.refitting) {
      this.set({ progress: { ...now.progress, refitting: answer.refitting } });
    }
  }
}
