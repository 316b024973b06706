// A stand-in for the accelerator, written against the interface alone: copies PROGRAM_LENGTH beats from READ_BASE to
// WRITE_BASE, in bursts of 8.  DATA_BASE chooses a misbehaviour, so that the checks of the harness are seen to work:
// 1 withdraws arvalid, 2 changes araddr before ready, 3 ends a write burst early, 4 never ends, 5 withdraws wvalid,
// 6 asserts arvalid in reset.
module rowcast (
  input clk, input rst, output irq, output reg [15:0] layer, output reg [2:0] cause, output running,
  output m_axi_awid, output reg [31:0] m_axi_awaddr, output [7:0] m_axi_awlen, output [2:0] m_axi_awsize,
  output [1:0] m_axi_awburst, output [3:0] m_axi_awcache, output [2:0] m_axi_awprot, output reg m_axi_awvalid,
  input m_axi_awready, output [63:0] m_axi_wdata, output [7:0] m_axi_wstrb, output m_axi_wlast, output reg m_axi_wvalid,
  input m_axi_wready, input m_axi_bid, input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready,
  output m_axi_arid, output reg [31:0] m_axi_araddr, output [7:0] m_axi_arlen, output [2:0] m_axi_arsize,
  output [1:0] m_axi_arburst, output [3:0] m_axi_arcache, output [2:0] m_axi_arprot, output reg m_axi_arvalid,
  input m_axi_arready, input m_axi_rid, input [63:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast,
  input m_axi_rvalid, output m_axi_rready,
  input [11:0] s_axil_awaddr, input [2:0] s_axil_awprot, input s_axil_awvalid, output s_axil_awready,
  input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb, input s_axil_wvalid, output s_axil_wready,
  output [1:0] s_axil_bresp, output reg s_axil_bvalid, input s_axil_bready,
  input [11:0] s_axil_araddr, input [2:0] s_axil_arprot, input s_axil_arvalid, output s_axil_arready,
  output reg [31:0] s_axil_rdata, output reg [1:0] s_axil_rresp, output reg s_axil_rvalid, input s_axil_rready
);
  localparam IDLE = 0, AR = 1, R = 2, AW = 3, W = 4, B = 5, HANG = 6;
  localparam ID = 0, CONTROL = 3, STATUS = 4, IRQ_ENABLE = 5, IRQ_STATUS = 6, ERROR_CODE = 7, PROGRAM_LENGTH = 9;
  localparam DATA_BASE = 12, READ_BASE = 14, WRITE_BASE = 18, QUEUES = 22, UNITS = 23, CYCLES = 32, CYCLES_HIGH = 33;

  reg [31:0] registers [0:127];
  reg [2:0] state = IDLE;
  reg [63:0] buffer [0:7];
  reg [2:0] beat;
  reg [31:0] left;
  reg read_failed;
  reg started = 0;
  wire [31:0] mode = registers[DATA_BASE];
  wire [7:0] length = left > 8 ? 7 : left[7:0] - 1;
  wire [2:0] state_cause = state == AR || state == R ? 5 : state == HANG ? 7 : 6;

  assign irq = |(registers[IRQ_STATUS] & registers[IRQ_ENABLE]);
  assign running = state != IDLE;
  assign {m_axi_awid, m_axi_awsize, m_axi_awburst, m_axi_awcache, m_axi_awprot} = {1'b0, 3'd3, 2'd1, 4'd3, 3'd0};
  assign {m_axi_arid, m_axi_arsize, m_axi_arburst, m_axi_arcache, m_axi_arprot} = {1'b1, 3'd3, 2'd1, 4'd3, 3'd0};
  assign m_axi_awlen = length;
  assign m_axi_arlen = length;
  assign m_axi_wdata = buffer[beat];
  assign m_axi_wstrb = 8'hff;
  assign m_axi_wlast = beat == (mode == 3 ? 1 : length);
  assign m_axi_bready = state == B;
  assign m_axi_rready = state == R;
  assign s_axil_awready = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
  assign s_axil_wready = s_axil_awready;
  assign s_axil_bresp = 0;
  assign s_axil_arready = !s_axil_rvalid;

  always @(*) begin
    cause = state_cause;
  end

  integer i;
  always @(posedge clk) begin
    if (running) {registers[CYCLES_HIGH], registers[CYCLES]} <= {registers[CYCLES_HIGH], registers[CYCLES]} + 1;
    if (s_axil_awready) begin
      s_axil_bvalid <= 1;
      case (s_axil_awaddr[11:2])
        CONTROL: begin
          if (s_axil_wdata[0]) begin
            state <= mode == 4 ? HANG : AR;
            left <= registers[PROGRAM_LENGTH];
            m_axi_araddr <= registers[READ_BASE];
            m_axi_awaddr <= registers[WRITE_BASE];
            m_axi_arvalid <= mode != 4;
            layer <= 0;
            read_failed <= 0;
            registers[ERROR_CODE] <= 0;
            {registers[CYCLES_HIGH], registers[CYCLES]} <= 0;
          end
        end
        IRQ_STATUS: registers[IRQ_STATUS] <= registers[IRQ_STATUS] & ~s_axil_wdata;
        default: registers[s_axil_awaddr[8:2]] <= s_axil_wdata;
      endcase
    end
    if (s_axil_bready) s_axil_bvalid <= s_axil_awready;
    if (s_axil_rready) s_axil_rvalid <= 0;
    if (s_axil_arvalid && s_axil_arready) begin
      s_axil_rvalid <= 1;
      s_axil_rresp <= s_axil_araddr >= 512 ? 2 : 0;
      s_axil_rdata <= registers[s_axil_araddr[8:2]];
    end

    case (state)
      AR: begin
        if (mode == 1 && !m_axi_arready) m_axi_arvalid <= 0;
        if (mode == 2 && !m_axi_arready) m_axi_araddr <= m_axi_araddr + 8;
        if (m_axi_arvalid && m_axi_arready) begin
          m_axi_arvalid <= 0;
          state <= R;
          beat <= 0;
        end
      end
      R: if (m_axi_rvalid) begin
        buffer[beat] <= m_axi_rdata;
        beat <= beat + 1;
        if (m_axi_rresp != 0) read_failed <= 1;
        if (m_axi_rlast) begin
          beat <= 0;
          state <= AW;
          m_axi_awvalid <= 1;
          if (read_failed || m_axi_rresp != 0) begin
            m_axi_awvalid <= 0;
            state <= IDLE;
            registers[ERROR_CODE] <= 5;
            registers[IRQ_STATUS] <= 2;
          end
        end
      end
      AW: if (m_axi_awready) begin
        m_axi_awvalid <= 0;
        m_axi_wvalid <= 1;
        state <= W;
      end
      W: begin
        if (mode == 5) m_axi_wvalid <= m_axi_wready;
        if (m_axi_wvalid && m_axi_wready) begin
          beat <= beat + 1;
          if (m_axi_wlast) begin
            m_axi_wvalid <= 0;
            state <= B;
          end
        end
      end
      B: if (m_axi_bvalid) begin
        layer <= layer + 1;
        left <= left - length - 1;
        m_axi_araddr <= m_axi_araddr + 64;
        m_axi_awaddr <= m_axi_awaddr + 64;
        m_axi_arvalid <= left > 8 && m_axi_bresp == 0;
        state <= left > 8 && m_axi_bresp == 0 ? AR : IDLE;
        if (m_axi_bresp != 0) registers[ERROR_CODE] <= 6;
        if (left <= 8 || m_axi_bresp != 0) registers[IRQ_STATUS] <= m_axi_bresp != 0 ? 2 : 1;
      end
    endcase

    if (rst) begin
      state <= IDLE;
      {m_axi_awvalid, m_axi_wvalid, s_axil_bvalid, s_axil_rvalid} <= 0;
      m_axi_arvalid <= started && mode == 6;
      started <= 1;
      if (mode != 6)
        for (i = 0; i < 128; i = i + 1) registers[i] <= 0;
      registers[ID] <= 32'h43574f52;
      registers[STATUS] <= 32'h00070001;
      registers[QUEUES] <= 32'h00000302;
      registers[UNITS] <= 32'h00000104;
    end
  end
endmodule
