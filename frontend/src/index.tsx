import { PluginComponentType, registerComponent } from "@fiftyone/plugins";

import { Board } from "./components/Board";

registerComponent({
  name: "DeepClusterBoard",
  label: "Clusters",
  component: Board,
  type: PluginComponentType.Component,
  activator: () => true,
});
