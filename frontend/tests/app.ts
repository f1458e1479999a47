// What the panel uses of the App, in place of its global packages; the answers come from `server.answer`.

type Answer = { value: unknown } | { message: string };

export const server: { answer: (event: string, params: Record<string, unknown>) => Promise<Answer> } = {
  answer: () => Promise.reject(new Error("no server")),
};

interface PanelEvent {
  operator: string;
  params: Record<string, unknown>;
  callback: (result: { result: Answer }) => boolean | undefined;
}

const send = (_panel: string, event: PanelEvent): void => {
  void server.answer(event.operator, event.params).then((result) => event.callback({ result }));
};

export const usePanelEvent = () => send;
export const executeOperator = (operator: string, params: PanelEvent["params"], { callback }: Pick<PanelEvent, "callback">) =>
  send("panel", { operator, params, callback });
export const usePanelId = () => "panel";
export const getCurrentEnvironment = undefined;
export const getSampleSrc = (path: string) => `/media?filepath=${path}`;
export const selectedSamples = "selectedSamples";
export const view = "view";
export const filters = "filters";
export const colorScheme = "colorScheme";
export const sidebarGroupsDefinition = (modal: boolean) => `sidebarGroups ${modal}`;
export const constants = { FIFTYONE_GRID_SPACES_ID: "spaces" };
export const state: Record<string, unknown> = {};
export const useRecoilValue = (name: string) => state[name];
export const useSetRecoilState = (name: string) => (value: unknown) => {
  state[name] = typeof value === "function" ? (value as (before: unknown) => unknown)(state[name]) : value;
};
export const panelStates: Record<string, Record<string, unknown>> = {};
const setPanelState = async (panel: string, change: (before: Record<string, unknown>) => Record<string, unknown>) => {
  panelStates[panel] = change(panelStates[panel] ?? {});
};
export const useSetPanelStateById = () => setPanelState;
export const useSpaceNodes = () => (state["nodes"] ?? []) as { id: string; type: string }[];
/** Whether the browser would ask before it closes the tab now. */
export const asksBeforeClosing = (): boolean => !window.dispatchEvent(new Event("beforeunload", { cancelable: true }));
