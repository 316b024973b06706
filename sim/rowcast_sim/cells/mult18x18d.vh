// What the ECP5 multiplier does (Lattice, "ECP5 and ECP5-5G sysDSP Usage Guide"): the inside of Yosys's black box
// MULT18X18D.
//
// 18 x 18 bits, each signed or not, with a register at each input, one between, and one at the output, each with clock,
// enable and reset of its own choice.  SIGNEDA and SIGNEDB go with the input registers.  Not modelled: the shift chains
// between multipliers, operand C, and the bypass.

`define ROWCAST_PICK(choice, stem) (choice == `"stem``3`" ? stem``3 : choice == `"stem``2`" ? stem``2 : choice == `"stem``1`" ? stem``1 : stem``0)

  wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};

  reg [18:0] a_register, b_register;
  wire [18:0] a_now = {SIGNEDA & A17, a}, b_now = {SIGNEDB & B17, b};
  wire signed [18:0] a_used = REG_INPUTA_CLK == "NONE" ? a_now : a_register;
  wire signed [18:0] b_used = REG_INPUTB_CLK == "NONE" ? b_now : b_register;
  wire signed [37:0] product = a_used * b_used;
  reg [35:0] pipeline, result;
  wire [35:0] middle = REG_PIPELINE_CLK == "NONE" ? product[35:0] : pipeline;

  wire clk_a = `ROWCAST_PICK(REG_INPUTA_CLK, CLK), clk_b = `ROWCAST_PICK(REG_INPUTB_CLK, CLK);
  wire clk_pipeline = `ROWCAST_PICK(REG_PIPELINE_CLK, CLK), clk_result = `ROWCAST_PICK(REG_OUTPUT_CLK, CLK);
  wire rst_a = `ROWCAST_PICK(REG_INPUTA_RST, RST), rst_b = `ROWCAST_PICK(REG_INPUTB_RST, RST);
  wire rst_pipeline = `ROWCAST_PICK(REG_PIPELINE_RST, RST), rst_result = `ROWCAST_PICK(REG_OUTPUT_RST, RST);

  always @(posedge clk_a)
    if (rst_a) a_register <= 19'b0;
    else if (`ROWCAST_PICK(REG_INPUTA_CE, CE)) a_register <= a_now;
  always @(posedge clk_b)
    if (rst_b) b_register <= 19'b0;
    else if (`ROWCAST_PICK(REG_INPUTB_CE, CE)) b_register <= b_now;
  always @(posedge clk_pipeline)
    if (rst_pipeline) pipeline <= 36'b0;
    else if (`ROWCAST_PICK(REG_PIPELINE_CE, CE)) pipeline <= product[35:0];
  always @(posedge clk_result)
    if (rst_result) result <= 36'b0;
    else if (`ROWCAST_PICK(REG_OUTPUT_CE, CE)) result <= middle;

  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15, P14, P13,
          P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = REG_OUTPUT_CLK == "NONE" ? middle : result;

  generate
    if (RESETMODE != "SYNC" || MULT_BYPASS != "DISABLED")
      THIS_USE_OF_MULT18X18D_IS_NOT_MODELLED error();
  endgenerate
