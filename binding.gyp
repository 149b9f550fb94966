# CMakeLists.txt is the build description; this only lets node-gyp start it.
{
  "targets": [
    {
      "target_name": "train_moe",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["<(PRODUCT_DIR)/train_moe.node"],
          "action": ["node", "native/build.mjs", "--out", "build/cmake"]
        }
      ]
    }
  ]
}
